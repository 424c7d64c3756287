//! Reading the entries of both types from both partitions.

use std::io::{Read, Seek};

use log::{debug, warn};

use crate::boot::esp::dirs::BootDirs;
use crate::boot::esp::volume::{Item, Volume};
use crate::boot::model::entry::{BootPartition, CONF_DIR, Entry, EntryKind, Starts, UKI_DIR};
use crate::boot::model::loader_conf::LoaderConf;
use crate::boot::model::name::{EntryName, Suffix};
use crate::boot::model::osrel::OsRelease;
use crate::boot::model::quirks::Quirks;
use crate::boot::model::type1;
use crate::boot::model::uki;
use crate::boot::model::uki::Profile;
use crate::error::{OrError, Result};

/// The largest text file that is read; the loader has no limit, but no reason for more.
const MOST_BYTES: u64 = 256 << 10;

impl BootDirs {
    /// All entries of both types on both partitions as this version of the loader reads them, in the order in which
    /// it finds them (not the order of the menu): ESP before XBOOTLDR, Type #2 before Type #1
    /// (`config_load_all_entries`).
    ///
    /// # Errors
    /// [`crate::error::Error::Boot`] if a directory cannot be read; an entry that cannot be read is left out, as the loader does,
    /// and logged.
    pub fn entries(&self, quirks: &Quirks) -> Result<Vec<Entry>> {
        let mut entries = Vec::new();
        for partition in [BootPartition::Esp, BootPartition::Xbootldr] {
            let Ok(volume) = self.volume(partition) else { continue };
            for (item, name) in files(volume, partition, UKI_DIR, Suffix::Efi)? {
                entries.extend(read_uki(volume, partition, &item, &name, quirks));
            }
            for (item, name) in files(volume, partition, CONF_DIR, Suffix::Conf)? {
                entries.extend(read_conf(volume, partition, &item, &name, quirks));
            }
        }
        Ok(entries)
    }
}

/// `loader.conf` of the ESP. It is empty where there is none.
///
/// # Errors
/// [`crate::error::Error::Boot`] if it is there and cannot be read.
pub fn loader_conf(dirs: &BootDirs, single_quotes: bool) -> Result<LoaderConf> {
    let path = "loader/loader.conf";
    let is_there = dirs
        .esp
        .list("loader")
        .or_boot(|| "loader: cannot read")?
        .iter()
        .any(|i| i.name.eq_ignore_ascii_case("loader.conf") && !i.is_dir);
    if !is_there {
        return Ok(LoaderConf::default());
    }
    let text = read_text(dirs.esp.as_ref(), path).or_boot(|| format!("{path}: cannot read"))?;
    Ok(LoaderConf::parse(&text, single_quotes))
}

fn files(
    volume: &dyn Volume,
    partition: BootPartition,
    dir: &str,
    suffix: Suffix,
) -> Result<Vec<(Item, EntryName)>> {
    let items = volume.list(dir).or_boot(|| format!("{dir} on the {}: cannot read", partition.as_str()))?;
    let named = |item: Item| {
        let name = EntryName::parse(&item.name).filter(|n| n.suffix() == suffix && !item.is_dir)?;
        Some((item, name))
    };
    Ok(items.into_iter().filter_map(named).collect())
}

fn read_text(volume: &dyn Volume, path: &str) -> std::io::Result<String> {
    let mut bytes = Vec::new();
    volume.open(path)?.take(MOST_BYTES).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn read_uki(
    volume: &dyn Volume,
    partition: BootPartition,
    item: &Item,
    name: &EntryName,
    quirks: &Quirks,
) -> Vec<Entry> {
    let path = format!("{UKI_DIR}/{}", item.name);
    let uki = volume.open(&path).map_err(|e| e.to_string());
    let uki = match uki.and_then(|file| uki::read(file, quirks.single_quotes).map_err(|e| e.to_string())) {
        Ok(uki) => uki,
        Err(e) => {
            warn!("{path}: not a boot entry: {e}");
            return Vec::new();
        }
    };
    let profiles = std::iter::once(&uki.main).chain(&uki.others).zip(0..);
    profiles.filter_map(|(profile, n)| uki_entry(partition, item, name, profile, n)).collect()
}

/// The entry that the loader makes of a UKI's profile; `None` if it would not show it.
#[must_use]
pub fn uki_entry(
    partition: BootPartition,
    item: &Item,
    name: &EntryName,
    profile: &Profile,
    number: u32,
) -> Option<Entry> {
    let osrel = profile.osrel.as_ref()?;
    let Some(title) = osrel.entry_title() else {
        debug!("{name}: its os-release has no name, so the boot loader does not show it");
        return None;
    };
    let own = |text: Option<&str>| text.map(str::to_owned);
    let title = match (&profile.title, &profile.id, number) {
        (Some(t), _, _) => format!("{title} ({t})"),
        (None, _, 0) => title.to_owned(),
        (None, Some(id), _) => format!("{title} ({id})"),
        (None, None, n) => format!("{title} (Profile #{})", n + 1),
    };
    Some(Entry {
        name: name.clone(),
        partition,
        kind: EntryKind::Uki,
        title: Some(title),
        sort_key: own(osrel.entry_sort_key()),
        machine_id: None,
        version: own(osrel.entry_version()),
        image_version: own(osrel.image_version()),
        unversioned: osrel.is_unversioned(),
        options: profile.cmdline.clone(),
        starts: None,
        profile: number,
        profile_id: profile.id.clone(),
        read_only: item.read_only,
    })
}

fn read_conf(
    volume: &dyn Volume,
    partition: BootPartition,
    item: &Item,
    name: &EntryName,
    quirks: &Quirks,
) -> Option<Entry> {
    let path = format!("{CONF_DIR}/{}", item.name);
    let text = match read_text(volume, &path) {
        Ok(text) => text,
        Err(e) => {
            warn!("{path}: not a boot entry: {e}");
            return None;
        }
    };
    let it = type1::parse(&text, quirks)?;
    // The loader does not show an entry whose file is not there.
    let target = if it.starts == Starts::UkiUrl { None } else { volume.open(&it.target).ok() };
    if target.is_none() && it.starts != Starts::UkiUrl {
        debug!("{path}: {} does not exist, so the boot loader does not show the entry", it.target);
        return None;
    }
    let profile = target.and_then(|file| profile_of_uki(file, it.profile, quirks));
    let osrel = profile.as_ref().and_then(|profile| profile.osrel.as_ref());
    Some(Entry {
        name: name.clone(),
        partition,
        kind: EntryKind::Conf(it.starts),
        title: it.title,
        sort_key: it.sort_key,
        machine_id: it.machine_id,
        version: it.version,
        image_version: None,
        unversioned: osrel.is_some_and(OsRelease::is_unversioned),
        options: it.options.or_else(|| profile.and_then(|profile| profile.cmdline)),
        starts: (it.starts != Starts::UkiUrl).then_some(it.target),
        profile: it.profile,
        profile_id: None,
        read_only: item.read_only,
    })
}

/// The profile of a UKI; the stub uses its command line where the entry gives no options. `None` if the file is not a
/// UKI.
fn profile_of_uki(file: impl Read + Seek, profile: u32, quirks: &Quirks) -> Option<Profile> {
    let uki = uki::read(file, quirks.single_quotes).ok()?;
    let index = usize::try_from(profile).ok()?;
    std::iter::once(uki.main).chain(uki.others).nth(index)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::rc::Rc;

    use super::*;
    use crate::boot::tests::{Recorder, fixture};

    fn read(files: &[(&str, &[u8])]) -> Vec<Entry> {
        let recorder = Rc::new(Recorder::with(files));
        BootDirs { esp: Box::new(recorder), xbootldr: None }.entries(&Quirks::NEWEST).unwrap()
    }

    #[test]
    fn an_entry_that_starts_a_uki_has_its_command_line_or_options_of_its_own() {
        let uki = fixture::uki("edge", "2.0", "root=/dev/sda2");
        let entries = read(&[
            ("edge/uki.efi", &uki),
            ("edge/other.efi", b"MZ"),
            ("loader/entries/a.conf", b"title A\nefi /edge/uki.efi\n"),
            ("loader/entries/b.conf", b"title B\nuki /edge/uki.efi\noptions root=/dev/sda3\n"),
            ("loader/entries/c.conf", b"title C\nefi /edge/other.efi\n"),
        ]);
        let options: Vec<Option<&str>> = entries.iter().map(|e| e.options.as_deref()).collect();
        assert_eq!(options, [Some("root=/dev/sda2"), Some("root=/dev/sda3"), None]);
    }

    #[test]
    fn entries_of_both_types_are_read_from_both_partitions() {
        let uki = fixture::uki("edge", "2.0", "root=/dev/sda2");
        let esp = Rc::new(Recorder::with(&[("EFI/Linux/edge_2.0+2-1.efi", &uki)]));
        let conf = b"title Old\nsort-key edge\nversion 1.0\nlinux /linux\noptions a\noptions b\n";
        let xbootldr = Rc::new(Recorder::with(&[("loader/entries/old.conf", conf), ("linux", b"x")]));
        let dirs = BootDirs { esp: Box::new(esp), xbootldr: Some(Box::new(xbootldr)) };
        let entries = dirs.entries(&Quirks::NEWEST).unwrap();
        let paths: Vec<String> = entries.iter().map(Entry::path).collect();
        assert_eq!(paths, ["EFI/Linux/edge_2.0+2-1.efi", "loader/entries/old.conf"]);
        let options: Vec<Option<&str>> = entries.iter().map(|e| e.options.as_deref()).collect();
        assert_eq!(options, [Some("root=/dev/sda2"), Some("a b")]);
        let partitions: Vec<BootPartition> = entries.iter().map(|e| e.partition).collect();
        assert_eq!(partitions, [BootPartition::Esp, BootPartition::Xbootldr]);
        assert_eq!(entries.first().unwrap().title.as_deref(), Some("Edge 2.0"));
    }

    #[test]
    fn a_broken_file_does_not_hide_the_others() {
        let uki = fixture::uki("edge", "1.0", "");
        let entries = read(&[
            ("EFI/Linux/broken.efi", b"MZ, or not"),
            ("EFI/Linux/edge_1.0.efi", &uki),
            ("EFI/Linux/edge_2.0+3-0.efi.tmp", &uki),
            ("loader/entries/nothing.conf", b"title only\n"),
            ("loader/entries/gone.conf", b"linux /gone\n"),
        ]);
        assert_eq!(entries.len(), 1);
    }

    #[test]
    fn a_uki_whose_osrel_has_no_name_is_not_shown() {
        let bytes = fixture::pe(0x8664, &[(".osrel", b"VERSION_ID=1\n")]);
        assert!(read(&[("EFI/Linux/x.efi", &bytes)]).is_empty());
    }

    #[test]
    fn the_loaders_settings_are_read_from_the_esp() {
        let esp = Rc::new(Recorder::with(&[("loader/loader.conf", b"default edge*\n")]));
        let dirs = BootDirs { esp: Box::new(esp), xbootldr: None };
        assert_eq!(loader_conf(&dirs, true).unwrap().default.as_deref(), Some("edge*"));
        let dirs = BootDirs { esp: Box::new(Rc::new(Recorder::with(&[]))), xbootldr: None };
        assert_eq!(loader_conf(&dirs, true).unwrap(), LoaderConf::default());
    }
}

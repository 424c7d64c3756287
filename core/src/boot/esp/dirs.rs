//! The boot partitions, and changes to their entries: a power cut between any two steps leaves every
//! entry either as it was or as it will be.

use crate::boot::esp::volume::{Item, Volume};
use crate::boot::esp::{padding, safe_rename};
use crate::boot::model::entry::{BootPartition, CONF_DIR, Entry, UKI_DIR};
use crate::boot::model::name::EntryName;
use crate::error::{Error, OrError, Result};

/// Whether the ESP is opened for changes. Mounting vfat writable marks it dirty, so a reader must not do that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Read only.
    Read,
    /// Read only, and without mounting it if it is not mounted: for the initramfs, where a committed boot should not
    /// even load the module.
    Glance,
    /// Entries or state will change.
    Write,
}

/// The name of an entry while it is removed; no loader shows it.
const DOOMED: &str = "removed.tmp";

/// The partitions that the loader reads.
#[derive(Debug)]
pub struct BootDirs {
    /// The ESP that the loader came from.
    pub esp: Box<dyn Volume>,
    /// The extended boot loader partition, if there is one.
    pub xbootldr: Option<Box<dyn Volume>>,
}

impl BootDirs {
    /// The volume of one partition.
    ///
    /// # Errors
    /// [`Error::Boot`] if there is no XBOOTLDR.
    pub fn volume(&self, partition: BootPartition) -> Result<&dyn Volume> {
        match partition {
            BootPartition::Esp => Ok(self.esp.as_ref()),
            BootPartition::Xbootldr => {
                let missing = || Error::Boot("there is no XBOOTLDR partition".into());
                self.xbootldr.as_deref().ok_or_else(missing)
            }
        }
    }

    /// The names of all entries, without looking into the files.
    ///
    /// # Errors
    /// [`Error::Boot`] if a folder cannot be read.
    pub fn names(&self) -> Result<Vec<EntryName>> {
        let mut names = vec![];
        for volume in [Some(self.esp.as_ref()), self.xbootldr.as_deref()].into_iter().flatten() {
            for dir in [UKI_DIR, CONF_DIR] {
                let items = volume.list(dir).or_boot(|| format!("{dir}: cannot read"))?;
                names.extend(items.iter().filter_map(|item| EntryName::parse(&item.name)));
            }
        }
        Ok(names)
    }

    /// Renames an entry's file as [`safe_rename::rename`] does.
    ///
    /// # Errors
    /// [`Error::Boot`].
    pub fn rename(&self, entry: &Entry, name: &EntryName) -> Result<Entry> {
        let to = entry.renamed(name.clone());
        if entry.name == *name {
            return Ok(to);
        }
        safe_rename::rename(self.volume(entry.partition)?, &entry.path(), &to.path())?;
        Ok(to)
    }

    /// Prepares the folders so that the names that the loader will give the entries on trial can be removed in one
    /// write each. Failures are logged.
    pub fn make_room_for_loader(&self) {
        for volume in [Some(self.esp.as_ref()), self.xbootldr.as_deref()].into_iter().flatten() {
            padding::make_room_for_loader(volume, UKI_DIR);
        }
    }

    /// Removes an entry's file and makes that durable. Where the file has another name, it is kept for that.
    ///
    /// A removal writes the folder and the FAT, in no guaranteed order; a name whose clusters are free already would
    /// be a broken entry, and the next file would overwrite what it boots. So the name that the loader shows goes
    /// first, by a rename.
    ///
    /// # Errors
    /// [`Error::Boot`].
    pub fn remove(&self, entry: &Entry) -> Result<()> {
        let volume = self.volume(entry.partition)?;
        let dir = entry.kind.dir();
        let doomed = format!("{dir}/{DOOMED}");
        safe_rename::discard(volume, &doomed)?;
        volume
            .rename_durably(&entry.path(), &doomed)
            .or_boot(|| format!("{}: cannot remove", entry.path()))?;
        safe_rename::discard(volume, &doomed)
    }

    /// Removes the leftovers of an interrupted removal, and returns whether there were any. Must be called before
    /// anything is written to the volume: the clusters may be free already.
    ///
    /// # Errors
    /// [`Error::Boot`].
    pub fn sweep(&self) -> Result<bool> {
        let mut found = false;
        for (volume, path) in self.leftovers()? {
            found = true;
            safe_rename::discard(volume, &path)?;
        }
        Ok(found)
    }

    /// Whether there are such leftovers.
    ///
    /// # Errors
    /// [`Error::Boot`] if a folder cannot be read.
    pub fn needs_sweep(&self) -> Result<bool> {
        Ok(!self.leftovers()?.is_empty())
    }

    fn leftovers(&self) -> Result<Vec<(&dyn Volume, String)>> {
        let mut found = vec![];
        for volume in [Some(self.esp.as_ref()), self.xbootldr.as_deref()].into_iter().flatten() {
            for dir in [UKI_DIR, CONF_DIR] {
                let items = volume.list(dir).or_boot(|| format!("{dir}: cannot read"))?;
                let is_leftover = |i: &&Item| i.name.eq_ignore_ascii_case(DOOMED) || padding::is_padding(i);
                found.extend(items.iter().filter(is_leftover).map(|i| (volume, format!("{dir}/{}", i.name))));
            }
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::rc::Rc;

    use super::*;
    use crate::boot::tests::{Recorder, uki};

    fn dirs(recorder: Recorder) -> (Rc<Recorder>, BootDirs) {
        let recorder = Rc::new(recorder);
        (Rc::clone(&recorder), BootDirs { esp: Box::new(recorder), xbootldr: None })
    }

    fn effects(recorder: &Recorder) -> Vec<String> {
        recorder.effects.borrow().clone()
    }

    #[test]
    fn a_rename_ends_with_the_sync_of_the_file_and_then_of_its_folder() {
        let (disk, dirs) = dirs(Recorder::with(&[("EFI/Linux/e+2-1.efi", b"x")]));
        let entry = uki("e+2-1.efi", "1");
        let renamed = dirs.rename(&entry, &entry.name.plain()).unwrap();
        assert_eq!(renamed.path(), "EFI/Linux/e.efi");
        assert_eq!(
            effects(&disk),
            ["rename EFI/Linux/e+2-1.efi EFI/Linux/e.efi", "sync EFI/Linux/e.efi", "syncdir EFI/Linux"]
        );
    }

    #[test]
    fn a_rename_to_the_same_name_touches_nothing() {
        let (disk, dirs) = dirs(Recorder::with(&[("EFI/Linux/e.efi", b"x")]));
        let entry = uki("e.efi", "1");
        dirs.rename(&entry, &entry.name).unwrap();
        assert!(effects(&disk).is_empty());
    }

    #[test]
    fn a_rename_never_replaces_another_entry() {
        let (disk, dirs) = dirs(Recorder::with(&[("EFI/Linux/e+2-1.efi", b"x"), ("EFI/Linux/e.efi", b"y")]));
        let entry = uki("e+2-1.efi", "1");
        let error = dirs.rename(&entry, &entry.name.plain()).unwrap_err();
        assert_eq!(error.exit_code(), 4);
        assert_eq!(disk.files.borrow().len(), 2);
    }

    #[test]
    fn an_entry_is_out_of_the_loaders_sight_before_its_clusters_are_free() {
        let (disk, dirs) =
            dirs(Recorder::with(&[("EFI/Linux/e.efi", b"x"), ("EFI/Linux/removed.tmp", b"y")]));
        dirs.remove(&uki("e.efi", "1")).unwrap();
        assert_eq!(
            effects(&disk),
            [
                "remove EFI/Linux/removed.tmp",
                "syncdir EFI/Linux",
                "rename EFI/Linux/e.efi EFI/Linux/removed.tmp",
                "sync EFI/Linux/removed.tmp",
                "syncdir EFI/Linux",
                "remove EFI/Linux/removed.tmp",
                "syncdir EFI/Linux",
            ]
        );
    }

    #[test]
    fn the_rest_of_a_removal_beside_its_entry_does_not_free_the_clusters() {
        let (disk, dirs) = dirs(Recorder::with(&[
            ("EFI/Linux/e+0-2.efi", b"x"),
            ("EFI/Linux/removed.tmp", b"x"),
            ("EFI/Linux/shared0.tmp", b"x"),
        ]));
        assert!(dirs.sweep().unwrap());
        assert_eq!(
            effects(&disk),
            [
                "rename EFI/Linux/removed.tmp EFI/Linux/shared1.tmp",
                "sync EFI/Linux/shared1.tmp",
                "syncdir EFI/Linux"
            ]
        );
        dirs.remove(&uki("e+0-2.efi", "1")).unwrap();
        let left: Vec<String> = disk.files.borrow().keys().cloned().collect();
        assert_eq!(left, ["EFI/Linux/shared0.tmp", "EFI/Linux/shared1.tmp"]);
    }

    #[test]
    fn what_cannot_be_told_from_an_entry_is_not_freed() {
        let files: [(&str, &[u8]); 2] = [("EFI/Linux/e.efi", b"x"), ("EFI/Linux/removed.tmp", b"y")];
        let unreadable = Some("EFI/Linux/removed.tmp");
        let (disk, dirs) = dirs(Recorder { unreadable, ..Recorder::with(&files) });
        assert!(dirs.sweep().unwrap());
        assert_eq!(
            disk.files.borrow().keys().collect::<Vec<_>>(),
            ["EFI/Linux/e.efi", "EFI/Linux/shared0.tmp"]
        );
    }

    #[test]
    fn of_two_names_of_one_file_only_the_last_to_be_removed_frees_its_clusters() {
        let (disk, dirs) = dirs(Recorder::with(&[("EFI/Linux/e+2-1.efi", b"x"), ("EFI/Linux/e.efi", b"x")]));
        for name in ["e+2-1.efi", "e.efi"] {
            dirs.remove(&uki(name, "1")).unwrap();
        }
        let removed: Vec<String> = effects(&disk).into_iter().filter(|e| e.starts_with("remove ")).collect();
        // The first is of nothing.
        assert_eq!(removed.last().map(String::as_str), Some("remove EFI/Linux/removed.tmp"));
        assert_eq!(disk.files.borrow().keys().collect::<Vec<_>>(), ["EFI/Linux/shared0.tmp"]);
    }

    #[test]
    fn a_filler_that_a_cut_has_left_is_swept_away() {
        let files: [(&str, &[u8]); 3] =
            [("EFI/Linux/FILLER0.TMP", b""), ("EFI/Linux/filler.tmp", b"its own"), ("EFI/Linux/e.efi", b"x")];
        let (disk, dirs) = dirs(Recorder::with(&files));
        assert!(dirs.sweep().unwrap() && !dirs.needs_sweep().unwrap());
        assert_eq!(
            disk.files.borrow().keys().collect::<Vec<_>>(),
            ["EFI/Linux/e.efi", "EFI/Linux/filler.tmp"],
            "what holds something is nobody's filler"
        );
    }
}

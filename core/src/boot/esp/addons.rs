//! Files beside a UKI from which systemd-stub takes more: addons with a command line or a devicetree, credentials, extensions.
//!
//! The stub looks for them in `<its own path>.extra.d` (`get_extra_dir`, systemd-stub(7)). Some versions leave out the
//! counter, from the first `+` on, and look in `edge_2.0.efi.extra.d`; others look in `edge_2.0+3-0.efi.extra.d`. Either
//! belongs to the entry with that id. What lies there from an older entry of this id would become a part of the new one.

use log::{info, warn};

use crate::boot::esp::dirs::BootDirs;
use crate::boot::esp::volume::Volume;
use crate::boot::model::entry::UKI_DIR;
use crate::boot::model::name::{EntryName, ends_with_no_case};
use crate::error::{OrError, Result};

/// At the end of the name of such a directory.
const SUFFIX: &str = ".extra.d";

/// The id of the entry that the addons in a directory of this name belong to; `None` if it is not for addons.
#[must_use]
pub fn entry_of(name: &str) -> Option<String> {
    let uki = name.get(..name.len().checked_sub(SUFFIX.len())?)?;
    ends_with_no_case(name, SUFFIX).then(|| EntryName::parse(uki).map(|uki| uki.id()))?
}

/// The directories with addons of entries on a volume, each with the id of its entry.
///
/// # Errors
/// [`crate::error::Error::Boot`] if the directory of the entries cannot be read.
pub fn directories(volume: &dyn Volume) -> Result<Vec<(String, String)>> {
    let items = volume.list(UKI_DIR).or_boot(|| format!("{UKI_DIR}: cannot read"))?;
    let of = |name: &str| Some((format!("{UKI_DIR}/{name}"), entry_of(name)?));
    Ok(items.iter().filter(|item| item.is_dir).filter_map(|item| of(&item.name)).collect())
}

impl BootDirs {
    /// Removes the addons of the entry with this id, which must not exist any more or not yet, and makes that durable.
    ///
    /// # Errors
    /// [`crate::error::Error::Boot`] if they cannot be removed.
    pub fn remove_addons(&self, id: &str) -> Result<()> {
        for volume in [Some(self.esp.as_ref()), self.xbootldr.as_deref()].into_iter().flatten() {
            for (dir, _) in directories(volume)?.into_iter().filter(|(_, of)| of == id) {
                info!("removing {dir}: it belongs to an older {id}");
                remove(volume, &dir)?;
            }
        }
        Ok(())
    }
}

fn remove(volume: &dyn Volume, dir: &str) -> Result<()> {
    let cannot = || format!("{dir}: cannot remove");
    for item in volume.list(dir).or_boot(cannot)?.iter().filter(|item| !item.is_dir) {
        volume.remove(&format!("{dir}/{}", item.name)).or_boot(cannot)?;
    }
    volume.sync_dir(dir).or_boot(cannot)?;
    // Without its files it has no effect.
    if let Err(e) = volume.remove_dir(dir) {
        warn!("{dir}: cannot remove the empty directory: {e}");
    }
    volume.sync_dir(UKI_DIR).or_boot(cannot)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::rc::Rc;

    use super::*;
    use crate::boot::tests::Recorder;

    #[test]
    fn the_addons_of_an_entry_are_told_with_and_without_its_counter() {
        for name in ["edge_2.0.efi.extra.d", "edge_2.0+3-0.efi.extra.d", "Edge_2.0+0-1.EFI.EXTRA.D"] {
            assert_eq!(entry_of(name).as_deref(), Some("edge_2.0.efi"), "{name}");
        }
        for name in
            ["edge_2.0.efi", ".extra.d", "edge_2.0.extra.d", "é.extra.d", "x", "edge_2.0.efi.extra.d.bak"]
        {
            assert_eq!(entry_of(name), None, "{name}");
        }
    }

    #[test]
    fn the_files_are_gone_for_good_before_their_directory_is() {
        let disk = Rc::new(Recorder::with(&[
            ("EFI/Linux/edge_2.0.efi.extra.d/a.addon.efi", b"x"),
            ("EFI/Linux/edge_2.0+3-0.efi.extra.d/b.cred", b"x"),
            ("EFI/Linux/edge_2.0_2.efi.extra.d/a.addon.efi", b"x"),
            ("EFI/Linux/edge_2.0.efi", b"x"),
        ]));
        let dirs = BootDirs { esp: Box::new(Rc::clone(&disk)), xbootldr: None };
        dirs.remove_addons("edge_2.0.efi").unwrap();
        let one = |dir: &str, file: &str| {
            [
                format!("remove {dir}/{file}"),
                format!("syncdir {dir}"),
                format!("rmdir {dir}"),
                "syncdir EFI/Linux".into(),
            ]
        };
        let mut expected = one("EFI/Linux/edge_2.0+3-0.efi.extra.d", "b.cred").to_vec();
        expected.extend(one("EFI/Linux/edge_2.0.efi.extra.d", "a.addon.efi"));
        assert_eq!(*disk.effects.borrow(), expected);
        let left: Vec<String> = disk.files.borrow().keys().cloned().collect();
        assert_eq!(left, ["EFI/Linux/edge_2.0.efi", "EFI/Linux/edge_2.0_2.efi.extra.d/a.addon.efi"]);
    }
}

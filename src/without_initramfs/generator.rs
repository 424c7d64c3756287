//! The generator (systemd.generator(7)): brings the units of a trial into a boot that may be one and of
//! which the initramfs has left no note. On every other boot it looks at a few files and ends.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use crate::boot::initramfs_stage::LATE;
use abide_core::config::BootConfig;
use abide_core::error::{Error, OrError, Result};
use abide_core::root::Root;
use abide_core::state::boot_note::NOTE;
use abide_initramfs::trial_units;

/// The name under which systemd starts it.
pub const NAME: &str = "abide-generator";

/// Makes the finding before the units of a trial start.
const FINDING: &str = "abide-find.service";

/// Exists where the firmware is EFI, with or without variables at run time.
const EFI: &str = "/sys/firmware/efi";
const VARIABLES: &str = "/sys/firmware/efi/efivars";
/// systemd-boot sets it if it counted the entry that it started; volatile.
const COUNT_PATH: &str = "LoaderBootCountPath-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f";

/// Runs as a generator: the first argument is the folder for units of normal priority.
///
/// # Errors
/// [`abide_core::error::Error::Usage`] without a folder, [`abide_core::error::Error::Failed`] if it cannot be
/// written.
pub fn run(root: &Root, arguments: &[OsString]) -> Result<()> {
    if !is_needed(root) {
        return Ok(());
    }
    let folder = arguments
        .first()
        .ok_or_else(|| Error::Usage(format!("{NAME}: no folder given; systemd starts it")))?;
    bring_in(root, Path::new(folder))
}

/// Whether this boot may be a trial of which nothing is known yet.
fn is_needed(root: &Root) -> bool {
    let is_there = |path: &str| root.path(path).exists();
    if is_there(LATE) {
        // systemd runs generators again when it reloads, and drops what they did not make anew.
        return true;
    }
    if is_there(NOTE) || root.is_initramfs() || !is_there(EFI) {
        return false;
    }
    let variables = root.path(VARIABLES);
    let is_silent = || fs::read_dir(&variables).map_or(true, |mut names| names.next().is_none());
    variables.join(COUNT_PATH).exists() || is_silent()
}

fn bring_in(root: &Root, folder: &Path) -> Result<()> {
    let config = BootConfig::load(root).unwrap_or_default();
    trial_units::write_into(folder, config.assess.deadline)?;
    let wants = folder.join("sysinit.target.wants");
    fs::create_dir_all(&wants).or_failed(|| format!("{}: cannot create", wants.display()))?;
    let link = wants.join(FINDING);
    symlink(Path::new("/usr/lib/systemd/system").join(FINDING), &link)
        .or_failed(|| format!("{}: cannot link", link.display()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn boot(files: &[&str]) -> (tempfile::TempDir, Root) {
        let dir = tempfile::tempdir().unwrap();
        for file in files {
            let path = dir.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        let root = Root::at(dir.path());
        (dir, root)
    }

    const SELECTED: &str =
        "sys/firmware/efi/efivars/LoaderEntrySelected-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f";
    const COUNTED: &str = "sys/firmware/efi/efivars/LoaderBootCountPath-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f";

    #[test]
    fn a_counted_boot_without_a_note_gets_the_units_of_a_trial() {
        let (dir, root) = boot(&[SELECTED, COUNTED]);
        let out = dir.path().join("out");
        run(&root, &[out.clone().into()]).unwrap();
        for link in [
            "sysinit.target.wants/abide-find.service",
            "sysinit.target.wants/abide-deadline.timer",
            "boot-complete.target.requires/abide-assess.service",
            "basic.target.wants/abide-commit.service",
        ] {
            assert!(out.join(link).symlink_metadata().is_ok(), "{link}");
        }
    }

    #[test]
    fn nothing_is_brought_into_a_boot_that_was_not_counted_or_has_its_note() {
        for files in [
            &[SELECTED][..],
            &[SELECTED, COUNTED, "run/abide/boot.json"],
            &[SELECTED, COUNTED, "etc/initrd-release"],
            &[],
        ] {
            let (dir, root) = boot(files);
            let out = dir.path().join("out");
            run(&root, &[out.clone().into()]).unwrap();
            assert!(!out.exists(), "{files:?}");
        }
    }

    #[test]
    fn without_variables_at_run_time_the_finding_is_made_at_every_boot() {
        let (_dir, root) = boot(&["sys/firmware/efi/fw_platform_size"]);
        assert!(is_needed(&root));
    }
}

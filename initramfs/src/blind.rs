//! A boot that may be a trial, before the ESP can be read and where it never can.
//!
//! The loader's variables alone tell that a counted entry was started. That is enough to make the boot end by
//! itself: where it hangs, where the kernel panics, and instead of a shell. A committed system that reaches its
//! root is not stopped.

use log::{info, warn};

use abide_core::error::Result;
use abide_core::root::Root;
use abide_core::state::{BootNote, run_file};
use abide_core::update::finding::blind::is_counted;

use crate::{end_of_hangs, trial_units};

/// Exists where this boot may be a trial by the loader's variables.
const MARK: &str = "/run/abide/counted";

/// Has a boot that may be a trial end by itself if it hangs or panics. Does nothing on other boots.
///
/// # Errors
/// [`abide_core::error::Error::Failed`] if `/run/abide` cannot be written.
pub fn guard(root: &Root) -> Result<()> {
    mark(root)?;
    if may_be_trial_only(root) {
        info!("the boot loader counted this boot; enabling the watchdog and the reboot on a kernel panic");
        // First, and for every counted boot: a committed system may be counted, too, and must feed the watchdog.
        trial_units::end_what_hangs(root)?;
        end_of_hangs::guard(root);
    }
    Ok(())
}

/// Marks a boot that may be a trial by the loader's variables. Does nothing on other boots.
///
/// # Errors
/// [`abide_core::error::Error::Failed`] if `/run/abide` cannot be written.
pub fn mark(root: &Root) -> Result<()> {
    if BootNote::read(root).is_some() || !is_counted(root) {
        return Ok(());
    }
    run_file::write(root, MARK, "")
}

/// Whether this boot may be a trial, and nothing has told more than that.
#[must_use]
pub fn may_be_trial_only(root: &Root) -> bool {
    root.path(MARK).exists() && BootNote::read(root).is_none()
}

/// Has the initramfs end this boot as it ends a trial: it cannot go on, and nothing tells what the boot is.
///
/// # Errors
/// [`abide_core::error::Error::Failed`] if `/run/abide` cannot be written.
pub fn end(root: &Root) -> Result<()> {
    warn!(
        "no ESP can be read, but the boot loader counted this boot; it is treated as a trial that cannot be committed"
    );
    BootNote::suspect(root)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::fs;

    use super::*;

    const VARS: &str = "sys/firmware/efi/efivars";
    const GUID: &str = "4a67b082-0a4c-41cf-b6c7-440b29bb8c4f";

    fn tree(count_path: Option<&str>) -> (tempfile::TempDir, Root) {
        let dir = tempfile::tempdir().unwrap();
        let vars = dir.path().join(VARS);
        fs::create_dir_all(&vars).unwrap();
        fs::create_dir_all(dir.path().join("proc/sys/kernel")).unwrap();
        fs::write(dir.path().join("proc/sys/kernel/panic"), "0\n").unwrap();
        let put = |name: &str, text: &str| {
            let mut bytes = vec![6, 0, 0, 0];
            bytes.extend(text.encode_utf16().chain([0]).flat_map(u16::to_le_bytes));
            fs::write(vars.join(format!("{name}-{GUID}")), bytes).unwrap();
        };
        put("LoaderEntrySelected", "edge_2.0.efi");
        if let Some(path) = count_path {
            put("LoaderBootCountPath", path);
        }
        let root = Root::at(dir.path());
        (dir, root)
    }

    #[test]
    fn a_counted_boot_without_an_esp_ends_by_itself_and_not_in_a_shell() {
        let (dir, root) = tree(Some("\\EFI\\Linux\\edge_2.0+2-1.efi"));
        guard(&root).unwrap();
        assert!(may_be_trial_only(&root));
        let panic = fs::read_to_string(dir.path().join("proc/sys/kernel/panic")).unwrap();
        assert_eq!(panic, "10");
        // The next system feeds what was started, even if this boot turns out to be a committed one.
        assert!(dir.path().join("run/systemd/system.conf.d/00-abide.conf").exists());
        end(&root).unwrap();
        assert!(dir.path().join("run/abide/trial").exists());
        assert!(BootNote::read(&root).is_none());
    }

    #[test]
    fn a_boot_that_was_not_counted_is_left_alone() {
        let (dir, root) = tree(None);
        guard(&root).unwrap();
        assert!(!may_be_trial_only(&root) && !dir.path().join("run").exists());
    }
}

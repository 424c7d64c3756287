//! Rebooting at once.

use rustix::system::RebootCommand;

use crate::error::{OrError, Result};
use crate::root::Root;
use crate::state::run_file;

/// Where a reboot is recorded instead of done, with `--root`.
const REQUESTED: &str = "/run/abide/reboot-requested";

/// Reboots the machine by system call, after what is written has reached the disks: in the initramfs, and where
/// systemd does not answer. With `--root` it is only recorded.
///
/// # Errors
/// [`crate::error::Error::Failed`] if the kernel refuses.
pub fn at_once(root: &Root) -> Result<()> {
    if !root.is_live() {
        return record(root);
    }
    rustix::fs::sync();
    rustix::system::reboot(RebootCommand::Restart).or_failed(|| "cannot reboot")
}

/// Records in `DIR/run/abide/reboot-requested` that a reboot was requested.
///
/// # Errors
/// [`crate::error::Error::Failed`] if it cannot be written.
pub fn record(root: &Root) -> Result<()> {
    run_file::write(root, REQUESTED, "reboot\n")
}

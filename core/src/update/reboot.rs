//! Asking for a reboot.

use std::fs;
use std::process::Command;

use rustix::system::RebootCommand;

use crate::error::{Error, OrError, Result};
use crate::root::Root;

/// Where a reboot is recorded instead of done, with `--root`.
const REQUESTED: &str = "/run/abide/reboot-requested";

/// How to go down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// Services are stopped in order.
    Orderly,
    /// Processes are killed and file systems unmounted, nothing is waited for:
    /// for a sick system, whose services may never stop.
    Forced,
    /// At once, by system call: in the initramfs, and where systemd does not answer.
    Immediate,
}

/// Reboots the machine; with `--root`, only says so in `DIR/run/abide/reboot-requested`.
///
/// # Errors
/// [`Error::Failed`] if neither systemd nor the kernel takes the request.
pub fn request(root: &Root, manner: Manner) -> Result<()> {
    if !root.is_live() {
        let path = root.path(REQUESTED);
        if let Some(dir) = path.parent() {
            fs::create_dir_all(dir).or_failed(|| format!("{}: cannot create", dir.display()))?;
        }
        return fs::write(&path, "reboot\n").or_failed(|| format!("{}: cannot write", path.display()));
    }
    let asked = match manner {
        Manner::Orderly => systemctl(&["--no-block", "reboot"]),
        Manner::Forced => systemctl(&["--force", "reboot"]),
        Manner::Immediate => Err(Error::Failed(String::new())),
    };
    let Err(why) = asked else { return Ok(()) };
    if manner != Manner::Immediate {
        log::warn!("{why}; rebooting by system call");
    }
    rustix::fs::sync();
    rustix::system::reboot(RebootCommand::Restart).or_failed(|| "cannot reboot")
}

fn systemctl(words: &[&str]) -> Result<()> {
    let status = Command::new("systemctl").args(words).status().or_failed(|| "systemctl: cannot start")?;
    if status.success() {
        return Ok(());
    }
    Err(Error::Failed(format!("systemctl {} failed: {status}", words.join(" "))))
}

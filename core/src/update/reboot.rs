//! Asking for a reboot.

use std::fs;
use std::process::{Command, Stdio};

use rustix::system::RebootCommand;

use crate::error::{Error, OrError, Result};
use crate::root::Root;

/// Where a reboot is recorded instead of done, with `--root`.
const REQUESTED: &str = "/run/abide/reboot-requested";

/// Keep systemctl from turning a reboot into another kind (systemd, `docs/ENVIRONMENT.md`).
const NO_OTHER_KIND: [(&str, &str); 2] =
    [("SYSTEMCTL_SKIP_AUTO_KEXEC", "1"), ("SYSTEMCTL_SKIP_AUTO_SOFT_REBOOT", "1")];

/// How to go down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// Services are stopped in order. systemd may refuse it, for an inhibitor (systemd-inhibit(1)) for instance.
    Orderly,
    /// Processes are killed and file systems unmounted, nothing is waited for: for a trial that must end, whose
    /// services may never stop.
    Forced,
    /// At once, by system call: in the initramfs, and where systemd does not answer.
    Immediate,
}

/// Reboots the machine; with `--root`, only says so in `DIR/run/abide/reboot-requested`.
///
/// It goes through the firmware and the boot loader, which counts it: never by kexec and never as a soft-reboot, into
/// which systemctl would turn it where a kernel is loaded or `/run/nextroot` is mounted.
///
/// # Errors
/// [`Error::Failed`] if systemd refuses an orderly reboot, or if the kernel refuses another one.
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
    if manner == Manner::Orderly {
        return Err(Error::Failed(format!(
            "systemd did not accept the reboot: {why}; reboot when nothing inhibits it (`systemd-inhibit --list`)"
        )));
    }
    if manner != Manner::Immediate {
        log::warn!("{why}; rebooting by system call");
    }
    rustix::fs::sync();
    rustix::system::reboot(RebootCommand::Restart).or_failed(|| "cannot reboot")
}

fn systemctl(words: &[&str]) -> Result<()> {
    let output = Command::new("systemctl")
        .args(words)
        .envs(NO_OTHER_KIND)
        .stdin(Stdio::null())
        .output()
        .or_failed(|| "systemctl: cannot start")?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let said = said.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or("it gave no reason");
    Err(Error::Failed(format!("systemctl {}: {said}", words.join(" "))))
}

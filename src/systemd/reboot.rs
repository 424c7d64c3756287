//! Rebooting through systemd.

use std::process::{Command, Stdio};

use log::warn;

use abide_core::error::{Error, OrError, Result};
use abide_core::root::Root;
use abide_core::update::reboot;

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
}

/// Reboots the machine; with `--root`, only records it in `DIR/run/abide/reboot-requested`.
///
/// It goes through the firmware and the boot loader, which counts it: never by kexec and never as a soft-reboot, into
/// which systemctl would turn it where a kernel is loaded or `/run/nextroot` is mounted.
///
/// # Errors
/// [`Error::Failed`] if systemd refuses an orderly reboot, or if the kernel refuses another one.
pub fn request(root: &Root, manner: Manner) -> Result<()> {
    if !root.is_live() {
        return reboot::record(root);
    }
    match manner {
        Manner::Orderly => systemctl(&["--no-block", "reboot"]).map_err(|why| {
            Error::Failed(format!(
                "systemd did not accept the reboot: {why}; reboot when nothing inhibits it (`systemd-inhibit --list`)"
            ))
        }),
        Manner::Forced => systemctl(&["--force", "reboot"]).or_else(|why| {
            warn!("{why}; rebooting by system call");
            reboot::at_once(root)
        }),
    }
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

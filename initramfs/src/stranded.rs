//! An initramfs that has failed before it was known what this boot is.

use std::process::Command;

use log::{error, warn};

use abide_core::boot::Access;
use abide_core::error::Result;
use abide_core::root::Root;
use abide_core::state::{BootKind, BootNote, Phase, Verdict, run_file};
use abide_core::update::reboot;
use abide_core::update::{Machine, trial};

/// Exists if the initramfs has failed before it was known what this boot is.
const STRANDED: &str = "/run/abide/stranded";

/// Records that the initramfs has failed.
///
/// # Errors
/// [`abide_core::error::Error::Failed`] if `/run/abide` cannot be written.
pub fn mark(root: &Root) -> Result<()> {
    run_file::write(root, STRANDED, "")
}

/// Ends a trial that was recognised only after the initramfs had failed: nothing else would end it.
///
/// # Errors
/// If the machine cannot be rebooted.
pub fn end_if_marked(root: &Root) -> Result<()> {
    if !root.path(STRANDED).exists() || !is_trial(root) {
        return Ok(());
    }
    lose(root).unwrap_or_else(|e| error!("{e}"));
    reboot::at_once(root)
}

/// Whether this boot is known to be a trial.
#[must_use]
pub fn is_trial(root: &Root) -> bool {
    BootNote::read(root).is_some_and(|note| note.kind == BootKind::Trial)
}

/// Records why this try ends in the initramfs.
///
/// # Errors
/// [`abide_core::error::Error::Boot`] if the ESP cannot be written.
pub fn lose(root: &Root) -> Result<()> {
    let reason = match failed_unit(root) {
        Some(unit) => format!("the initramfs could not continue: {unit} failed"),
        None => "the root was not ready in time".to_owned(),
    };
    warn!("{reason}; this try is used up");
    let mut machine = Machine::read_boot(root, Access::Write)?;
    trial::lose(&mut machine, Verdict { phase: Phase::Initramfs, reason, checks: vec![] })
}

/// The first unit that has failed. Units that only depend on it have not failed themselves.
fn failed_unit(root: &Root) -> Option<String> {
    if !root.is_live() {
        return None;
    }
    let words = ["list-units", "--state=failed", "--plain", "--no-legend", "--no-pager"];
    let output = Command::new("systemctl").args(words).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout);
    text.split_whitespace().next().map(str::to_owned)
}

//! What a trial's boot notes of itself once its own system runs, and the marker on which its units depend.

use std::fs;

use abide_core::boot::Access;
use abide_core::error::{OrError, Result};
use abide_core::root::Root;
use abide_core::state::boot_note::TRIAL;
use abide_core::state::lock::BRIEFLY;
use abide_core::state::{BootEnd, Lock, Phase};
use abide_core::update::Machine;
use abide_core::update::trial::{edit_boot, reach};

/// Notes that this boot of the update on trial has reached `phase`. Does
/// nothing on any other boot, or if it got further already.
///
/// # Errors
/// [`abide_core::error::Error::Boot`] if the state cannot be saved.
pub fn note_phase(root: &Root, phase: Phase) -> Result<()> {
    let _lock = Lock::wait(root, BRIEFLY)?;
    reach(&mut Machine::read_boot(root, Access::Write)?, phase)
}

/// Notes that this boot of the update on trial ends in an orderly reboot before
/// its assessment was over.
///
/// # Errors
/// [`abide_core::error::Error::Boot`] if the state cannot be saved.
pub fn interrupt_trial(root: &Root) -> Result<()> {
    let _lock = Lock::wait(root, BRIEFLY)?;
    interrupt(&mut Machine::read_boot(root, Access::Write)?)
}

/// As [`interrupt_trial`], where the machine has been read already.
///
/// # Errors
/// [`abide_core::error::Error::Boot`] if the state cannot be saved.
pub fn interrupt(machine: &mut Machine) -> Result<()> {
    edit_boot(machine, |boot| boot.end = boot.end.take().or(Some(BootEnd::Orderly)))
}

/// Whether this boot is a trial that nobody has ended yet, as the units see it.
#[must_use]
pub fn is_marked(root: &Root) -> bool {
    root.path(TRIAL).exists()
}

/// Takes the marker away on which the units of a trial depend.
///
/// # Errors
/// [`abide_core::error::Error::Failed`] if it cannot be removed.
pub fn unmark(root: &Root) -> Result<()> {
    let path = root.path(TRIAL);
    match fs::remove_file(&path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            Err(e).or_failed(|| format!("{}: cannot remove", path.display()))
        }
        _ => Ok(()),
    }
}

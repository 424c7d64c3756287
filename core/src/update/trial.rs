//! What a trial boot leaves on the ESP about itself: breadcrumbs, and its end.

use crate::config::OnFailure;
use crate::error::Result;
use crate::state::{BootEnd, Phase, Stage, TrialBoot, Verdict};

use crate::update::finding::Contradiction;
use crate::update::machine::Machine;
use crate::update::rollback::give_up;
use crate::update::step::{Effects, Step};

/// How a boot ends that was to be ended as a failed trial.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// It is not, or no longer, an uncommitted trial, and goes on.
    NotOnTrial,
    /// By a reboot.
    Reboot,
    /// Not at all: a reboot would lead to the same boot.
    Stay(Contradiction),
}

/// Ends this trial boot for `verdict`, up to the reboot, which is counted on the ESP.
///
/// # Errors
/// [`crate::error::Error::Boot`] if the ESP cannot be changed.
pub fn end(machine: &mut Machine, verdict: Verdict, how: OnFailure) -> Result<Ended> {
    let state = machine.state();
    match (state.update.as_ref().filter(|u| machine.is_try_of(u)), how) {
        (None, _) => return Ok(Ended::NotOnTrial),
        (Some(update), _) if update.verdict.is_some() => {}
        (Some(_), OnFailure::Rollback) => {
            give_up(machine, Some(verdict))?;
        }
        (Some(_), OnFailure::Retry) => lose(machine, verdict)?,
    }
    if let Err(why) = machine.reboot_leads_elsewhere() {
        return Ok(Ended::Stay(why));
    }
    ask_for_reboot(machine)?;
    Ok(Ended::Reboot)
}

/// Counts a reboot on the ESP that Abide is about to ask for, and returns how many that makes for the
/// update in flight. Counted once in a boot.
///
/// # Errors
/// [`crate::error::Error::Boot`] if the state cannot be saved.
pub fn ask_for_reboot(machine: &mut Machine) -> Result<u32> {
    let mut state = machine.state();
    let Some(update) = state.update.as_mut() else { return Ok(0) };
    let asked = update.reboots.ask(&machine.boot_id);
    machine.perform(&Step::Save(Box::new(state)))?;
    Ok(asked)
}

/// Notes that this boot of the update on trial has reached `phase`. Does nothing on any other boot, or if it got
/// further already.
///
/// # Errors
/// [`crate::error::Error::Boot`] if the state cannot be saved.
pub fn reach(machine: &mut Machine, phase: Phase) -> Result<()> {
    edit_boot(machine, |boot| boot.phase = boot.phase.max(phase))
}

/// Notes that this try is used up for `verdict`, and that the others are still to come.
///
/// # Errors
/// [`crate::error::Error::Boot`] if the state cannot be saved.
pub fn lose(machine: &mut Machine, verdict: Verdict) -> Result<()> {
    edit_boot(machine, |boot| {
        boot.phase = boot.phase.max(verdict.phase);
        boot.end = Some(BootEnd::Failed(verdict));
    })
}

/// Changes what the state holds of this boot, if it is a try of the update on trial.
///
/// # Errors
/// [`crate::error::Error::Boot`] if the state cannot be saved.
pub fn edit_boot(machine: &mut Machine, edit: impl FnOnce(&mut TrialBoot)) -> Result<()> {
    let mut state = machine.state();
    let boot_id = machine.boot_id.clone();
    let boot = state
        .update
        .as_mut()
        .filter(|u| u.stage == Stage::Testing)
        .and_then(|u| u.boots.iter_mut().find(|b| b.boot_id == boot_id));
    let Some(boot) = boot else { return Ok(()) };
    edit(boot);
    machine.perform(&Step::Save(Box::new(state)))
}

//! What a trial boot leaves on the ESP about itself: breadcrumbs, and its end.

use std::fs;

use log::{error, info};

use crate::boot::Access;
use crate::config::OnFailure;
use crate::error::{OrError, Result};
use crate::root::Root;
use crate::state::boot_note::TRIAL;
use crate::state::{BootEnd, BootNote, Lock, Phase, Stage, TrialBoot, Update, Verdict};

use crate::update::finding::Contradiction;
use crate::update::machine::Machine;
use crate::update::reboot;
use crate::update::reboot::Manner;
use crate::update::rollback::give_up;
use crate::update::step::{Effects, Step};

/// Notes that this boot of the update on trial has reached `phase`. Does
/// nothing on any other boot, or if it got further already.
///
/// # Errors
/// [`crate::error::Error::Boot`] if the state cannot be saved.
pub fn note_phase(root: &Root, phase: Phase) -> Result<()> {
    let _lock = Lock::wait(root)?;
    reach(&mut Machine::survey_boot(root, Access::Write)?, phase)
}

/// Notes that this boot of the update on trial ends in an orderly reboot before
/// its assessment was over.
///
/// # Errors
/// [`crate::error::Error::Boot`] if the state cannot be saved.
pub fn interrupt_trial(root: &Root) -> Result<()> {
    let _lock = Lock::wait(root)?;
    interrupt(&mut Machine::survey_boot(root, Access::Write)?)
}

/// As [`interrupt_trial`], where the machine has been surveyed already.
///
/// # Errors
/// [`crate::error::Error::Boot`] if the state cannot be saved.
pub fn interrupt(machine: &mut Machine) -> Result<()> {
    change(machine, |boot| boot.end = boot.end.take().or(Some(BootEnd::Orderly)))
}

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

/// Ends this trial boot for `verdict`: by `how`, gives the update up or leaves it its
/// other tries; then reboots, unless the model of the loader says that the same system would boot again. Saying it
/// twice only reboots again. A boot that is not, or no longer, an uncommitted trial is left alone.
///
/// What cannot be written does not keep the machine from rebooting: the loader
/// has counted this try already. `tell` is called before the reboot, once all else is done.
///
/// # Errors
/// [`crate::error::Error::Failed`] if the machine cannot be rebooted, or the boot cannot be noted as
/// one that stays.
pub fn fail_trial(root: &Root, verdict: Verdict, how: OnFailure, tell: impl FnOnce(&Update)) -> Result<()> {
    let ended = Lock::wait(root).and_then(|_lock| {
        let mut machine = Machine::survey_boot(root, Access::Write)?;
        Ok((end(&mut machine, verdict, how)?, machine.state().update, machine.boot_id))
    });
    match ended {
        Ok((Ended::NotOnTrial, ..)) => {
            info!("this boot is not on trial; it continues");
            Ok(())
        }
        Ok((Ended::Reboot, update, _)) => {
            if let Some(update) = &update {
                tell(update);
            }
            reboot::request(root, Manner::Forced)
        }
        Ok((Ended::Stay(why), update, boot_id)) => {
            error!("{why}");
            if let Some(update) = &update {
                tell(update);
            }
            BootNote::unknown(boot_id, why.to_string()).write(root)
        }
        Err(e) => {
            error!("{e}; this try is used up");
            reboot::request(root, Manner::Forced)
        }
    }
}

/// Ends this trial boot for `verdict`, up to the reboot, which is counted on the ESP.
///
/// # Errors
/// [`crate::error::Error::Boot`] if the ESP cannot be changed.
pub fn end(machine: &mut Machine, verdict: Verdict, how: OnFailure) -> Result<Ended> {
    let state = machine.state();
    match (state.update.as_ref().filter(|u| u.is_open() && machine.runs(u)), how) {
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

/// As [`note_phase`], where the machine has been surveyed already.
///
/// # Errors
/// [`crate::error::Error::Boot`] if the state cannot be saved.
pub fn reach(machine: &mut Machine, phase: Phase) -> Result<()> {
    change(machine, |boot| boot.phase = boot.phase.max(phase))
}

/// Notes that this try is used up for `verdict`, and that the others are still to come.
///
/// # Errors
/// [`crate::error::Error::Boot`] if the state cannot be saved.
pub fn lose(machine: &mut Machine, verdict: Verdict) -> Result<()> {
    change(machine, |boot| {
        boot.phase = boot.phase.max(verdict.phase);
        boot.end = Some(BootEnd::Failed(verdict));
    })
}

fn change(machine: &mut Machine, edit: impl FnOnce(&mut TrialBoot)) -> Result<()> {
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

/// Whether this boot is a trial that nobody has ended yet, as the units see it.
#[must_use]
pub fn is_marked(root: &Root) -> bool {
    root.path(TRIAL).exists()
}

/// Takes the marker away on which the units of a trial depend.
///
/// # Errors
/// [`crate::error::Error::Failed`] if it cannot be removed.
pub fn unmark(root: &Root) -> Result<()> {
    let path = root.path(TRIAL);
    match fs::remove_file(&path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            Err(e).or_failed(|| format!("{}: cannot remove", path.display()))
        }
        _ => Ok(()),
    }
}

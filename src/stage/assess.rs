//! Is the system on trial healthy? Runs the checks beside the boot until that is certain, and ends
//! the trial if it is not.

use log::{info, warn};

use super::post_mortem;
use super::progress::Progress;
use super::terminate;
use crate::boot::Access;
use crate::config::{Config, OnFailure};
use crate::error::{Error, Result};
use crate::health::clock::Clock;
use crate::health::runner::{self, End, Runner};
use crate::health::{Window, baseline};
use crate::root::Root;
use crate::state::boot_note::TRIAL;
use crate::state::{Baseline, BootKind, BootNote, FailedCheck, Phase, Verdict};
use crate::update::{Machine, trial};

/// Assesses the system on trial. Returns when it has passed; on any other boot at once.
///
/// A configuration that cannot be read fails the trial: what it would have asked for is not known.
///
/// # Errors
/// [`Error::Failed`] if the system did not pass, after the trial was ended and a reboot requested; the
/// error of `config`, likewise.
pub fn assess(root: &Root, config: Result<Config>) -> Result<()> {
    if !is_trial(root) {
        info!("this boot is not on trial; there is nothing to assess");
        return Ok(());
    }
    match config {
        Ok(config) => assess_trial(root, &config),
        Err(e) => {
            end(root, verdict(Phase::Userspace, e.to_string(), &[]), OnFailure::Rollback)?;
            Err(e)
        }
    }
}

/// Ends the trial because its deadline has passed; for the unit of that name.
///
/// # Errors
/// [`Error::Failed`] if the machine cannot be rebooted.
pub fn end_at_deadline(root: &Root, config: Result<Config>) -> Result<()> {
    let assess = config.unwrap_or_default().assess;
    let verdict = post_mortem::of_deadline(root, assess.deadline);
    end(root, verdict, assess.on_failure)
}

/// Ends the trial because it cannot succeed any more, for a reason yet to be found out; for
/// abide-rollback.service.
///
/// # Errors
/// [`Error::Failed`] if the machine cannot be rebooted.
pub fn end_failed(root: &Root, config: Result<Config>) -> Result<()> {
    let assess = config.unwrap_or_default().assess;
    let verdict = post_mortem::of_failure(root, assess.deadline);
    end(root, verdict, assess.on_failure)
}

fn is_trial(root: &Root) -> bool {
    BootNote::read(root).is_some_and(|note| note.kind == BootKind::Trial) && root.path(TRIAL).exists()
}

fn assess_trial(root: &Root, config: &Config) -> Result<()> {
    let clock = Clock::new(root);
    note_phase(root, Phase::Userspace);
    let checks = runner::prepare(config, &remembered_baseline(root), root);
    let mut window = Window::new(config.assess.test_window, config.assess.deadline, runner::rules(&checks));
    let mut runner = Runner::new(checks, clock);
    let stopper = runner.stopper();
    terminate::on_request(move || stopper.stop())?;
    let mut progress = Progress::new(root, &config.assess, clock);
    match runner.assess(&mut window, |standing, results| progress.show(standing, results)) {
        End::Passed => {
            info!("the system on trial is healthy");
            note_phase(root, Phase::Checks);
            baseline::of_results(root, &runner.results()).write(root)
        }
        End::Failed(failure) => {
            end(
                root,
                verdict(Phase::Checks, failure.reason.clone(), &failure.checks),
                config.assess.on_failure,
            )?;
            Err(Error::Failed(format!("the trial has failed: {}", failure.reason)))
        }
        End::Stopped => {
            trial::interrupt_trial(root)?;
            Err(Error::Failed("the assessment was stopped before the test window had held".into()))
        }
    }
}

/// What the last committed system was like. Without it the checks are stricter, which is no reason
/// to give up.
fn remembered_baseline(root: &Root) -> Baseline {
    match Machine::survey_boot(root, Access::Read) {
        Ok(machine) => machine.state().baseline,
        Err(e) => {
            warn!("{e}; what had failed before the update is not known");
            Baseline::default()
        }
    }
}

/// A breadcrumb that cannot be left is no reason to give up either.
fn note_phase(root: &Root, phase: Phase) {
    if let Err(e) = trial::note_phase(root, phase) {
        warn!("{e}");
    }
}

fn verdict(phase: Phase, reason: String, checks: &[(String, String)]) -> Verdict {
    let checks =
        checks.iter().map(|(name, reason)| FailedCheck { name: name.clone(), reason: reason.clone() });
    Verdict { phase, reason, checks: checks.collect() }
}

fn end(root: &Root, verdict: Verdict, how: OnFailure) -> Result<()> {
    warn!("the trial has failed: {}", verdict.reason);
    trial::fail_trial(root, verdict, how)
}

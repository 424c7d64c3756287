//! Is the system on trial healthy? Runs the checks beside the boot until that is certain, and ends
//! the trial if it is not.

use std::time::Duration;

use log::{info, warn};

use crate::assess::post_mortem;
use crate::assess::progress::Progress;
use crate::assess::terminate;
use crate::config::Config;
use crate::events::{Event, Kind, announce, hooks, within, write_metrics};
use crate::health::MonotonicClock;
use crate::health::runner;
use crate::health::runner::{AssessmentEnd, Runner};
use crate::health::{Assessment, CheckResult, CheckStatus, baseline};
use abide_core::boot::Access;
use abide_core::config::OnFailure;
use abide_core::error::{Error, Result};
use abide_core::root::Root;
use abide_core::state::boot_note::TRIAL;
use abide_core::state::{BootKind, BootNote, FailedCheck, Phase, State, Verdict};
use abide_core::update::{Machine, trial};

/// That this boot has failed was told.
const TOLD: &str = "/run/abide/failure-told";

/// What follows the failure of a trial keeps the machine no longer than this.
const FAREWELL: Duration = Duration::from_secs(30);

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
            let config = Config::default();
            end(root, &config, verdict(Phase::Userspace, e.to_string(), &[], &[]), OnFailure::Rollback)?;
            Err(e)
        }
    }
}

/// Ends the trial because its deadline has passed; for the unit of that name.
///
/// # Errors
/// [`Error::Failed`] if the machine cannot be rebooted.
pub fn end_at_deadline(root: &Root, config: Result<Config>) -> Result<()> {
    let config = config.unwrap_or_default();
    let verdict = post_mortem::of_deadline(root, config.assess.deadline);
    end(root, &config, verdict, config.assess.on_failure)
}

/// Ends the trial because it cannot succeed any more, for a reason yet to be found out; for
/// abide-rollback.service.
///
/// # Errors
/// [`Error::Failed`] if the machine cannot be rebooted.
pub fn end_failed(root: &Root, config: Result<Config>) -> Result<()> {
    let config = config.unwrap_or_default();
    let verdict = post_mortem::of_failure(root, config.assess.deadline);
    end(root, &config, verdict, config.assess.on_failure)
}

fn is_trial(root: &Root) -> bool {
    BootNote::read(root).is_some_and(|note| note.kind == BootKind::Trial) && root.path(TRIAL).exists()
}

fn assess_trial(root: &Root, config: &Config) -> Result<()> {
    let clock = MonotonicClock::new(root);
    note_phase(root, Phase::Userspace);
    let remembered = remembered(root);
    let checks = runner::prepare(config, &remembered.baseline, root);
    let mut window =
        Assessment::new(config.assess.test_window, config.assess.deadline, runner::rules(&checks));
    let mut runner = Runner::new(checks, clock);
    let stopper = runner.stopper();
    terminate::on_request(move || stopper.stop())?;
    if let Some(update) = &remembered.update {
        announce(root, config, &Event::of_update(root, Kind::Testing, update));
    }
    let mut progress = Progress::new(root, &config.assess, clock);
    let mut begun = false;
    let ended = runner.assess(&mut window, |standing, results| {
        // First, so that it outlives whoever has seen a result.
        if !begun && results.iter().any(|c| c.result != CheckStatus::Pending) {
            begun = true;
            note_phase(root, Phase::Checks);
        }
        progress.show(standing, results);
    });
    match ended {
        AssessmentEnd::Passed => {
            info!("the system on trial is healthy");
            if let Err(e) = write_metrics(root, config) {
                warn!("{e}");
            }
            baseline::of_results(root, &runner.results()).write(root)
        }
        AssessmentEnd::Failed(failure) => {
            end(
                root,
                config,
                verdict(Phase::Checks, failure.reason.clone(), &failure.checks, &runner.results()),
                config.assess.on_failure,
            )?;
            Err(Error::Failed(format!("the trial has failed: {}", failure.reason)))
        }
        AssessmentEnd::Stopped => {
            trial::interrupt_trial(root)?;
            Err(Error::Failed("the assessment was stopped before the test window had held".into()))
        }
    }
}

/// What is on the ESP: above all what the last committed system was like. Without it the checks are
/// stricter, which is no reason to give up.
pub(super) fn remembered(root: &Root) -> State {
    match Machine::survey_boot(root, Access::Read) {
        Ok(machine) => machine.state(),
        Err(e) => {
            warn!("{e}; what had failed before the update is not known");
            State::default()
        }
    }
}

/// A breadcrumb that cannot be left is no reason to give up either.
fn note_phase(root: &Root, phase: Phase) {
    if let Err(e) = trial::note_phase(root, phase) {
        warn!("{e}");
    }
}

pub(super) fn verdict(
    phase: Phase,
    reason: String,
    checks: &[(String, String)],
    results: &[CheckResult],
) -> Verdict {
    let output_of = |name: &str| results.iter().find(|r| r.name == name).map(|r| r.output.clone());
    let checks = checks.iter().map(|(name, reason)| FailedCheck {
        name: name.clone(),
        reason: reason.clone(),
        output: output_of(name).unwrap_or_default(),
    });
    Verdict { phase, reason, checks: checks.collect() }
}

/// Ends the trial. Whoever wants to know is told in between, but not twice, and not for long.
fn end(root: &Root, config: &Config, verdict: Verdict, how: OnFailure) -> Result<()> {
    let reason = verdict.clone();
    trial::fail_trial(root, verdict, how, |update| {
        let told = root.path(TOLD);
        if told.exists() {
            return;
        }
        let event = Event::of_update(root, Kind::Failed, update).because(&reason);
        let (root, config) = (root.clone(), config.clone());
        within(FAREWELL, "telling that the trial has failed", move || {
            announce(&root, &config, &event);
            hooks::run(&root, &config.scripts, &event);
            if let Err(e) = std::fs::write(&told, "") {
                warn!("{}: cannot write: {e}", told.display());
            }
        });
    })
}

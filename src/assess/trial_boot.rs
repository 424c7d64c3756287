//! The assessment of a system on trial: runs the checks while the boot continues, and ends the trial if they fail.

use log::{info, warn};

use crate::assess::assessment_run::{AssessmentRun, saved_state};
use crate::assess::failed_trial::end_failed_trial;
use crate::assess::{deadline, diagnosis};
use crate::config::Config;
use crate::events::{Event, EventKind, publish, write_metrics};
use crate::health::runner::AssessmentEnd;
use crate::health::{CheckStatus, baseline};
use crate::update::trial;
use abide_core::config::OnFailure;
use abide_core::error::{Error, Result};
use abide_core::root::Root;
use abide_core::state::boot_note::TRIAL;
use abide_core::state::{BootKind, BootNote, Phase};

/// Assesses the system on trial. Returns when it has passed; on any other boot at once.
///
/// A configuration that cannot be read fails the trial: the checks are unknown.
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
            let verdict = diagnosis::of_configuration(&e);
            end_failed_trial(root, &Config::default(), verdict, OnFailure::Rollback)?;
            Err(e)
        }
    }
}

fn is_trial(root: &Root) -> bool {
    BootNote::read(root).is_some_and(|note| note.kind == BootKind::Trial) && root.path(TRIAL).exists()
}

fn assess_trial(root: &Root, config: &Config) -> Result<()> {
    note_phase(root, Phase::Userspace);
    if let Err(e) = deadline::set(root, config.assess.deadline) {
        warn!("{e}; the trial keeps the deadline that was set earlier in this boot");
    }
    let saved = saved_state(root);
    let mut run = AssessmentRun::prepare(root, config, &saved.baseline)?;
    if let Some(update) = &saved.update {
        publish(root, config, &Event::of_update(root, EventKind::Testing, update));
    }
    let mut has_begun = false;
    let end = run.run(|results| {
        // Before a result is shown: a reader of a result may rely on the phase.
        if !has_begun && results.iter().any(|check| check.result != CheckStatus::Pending) {
            has_begun = true;
            note_phase(root, Phase::Checks);
        }
    });
    match end {
        AssessmentEnd::Passed => {
            info!("the system on trial is healthy");
            if let Err(e) = write_metrics(root, config) {
                warn!("{e}");
            }
            baseline::write(root, &baseline::of_results(root, &run.results()))
        }
        AssessmentEnd::Failed(cause) => {
            let verdict = diagnosis::of_checks(&cause, &run.results());
            end_failed_trial(root, config, verdict, config.assess.on_failure)?;
            Err(Error::Failed(format!("the trial has failed: {}", cause.reason)))
        }
        AssessmentEnd::Stopped => {
            trial::interrupt_trial(root)?;
            Err(Error::Failed("the assessment was stopped before the end of the test window".into()))
        }
    }
}

/// Records how far this boot has come. The assessment continues without the record.
fn note_phase(root: &Root, phase: Phase) {
    if let Err(e) = trial::note_phase(root, phase) {
        warn!("{e}");
    }
}

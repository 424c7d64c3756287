//! The assessment of a committed system, if `every_boot` or `rearm` is set.

use std::thread::sleep;
use std::time::Duration;

use log::{info, warn};

use crate::assess::assessment_run::{AssessmentRun, saved_state};
use crate::assess::diagnosis;
use crate::config::Config;
use crate::events::{Event, EventKind, publish, write_metrics};
use crate::health::runner::AssessmentEnd;
use crate::systemd::reboot;
use crate::systemd::reboot::Manner;
use crate::update::WholeMachine;
use crate::update::rearm::{disarm, rearm};
use crate::update::unhealthy::{Reaction, fail, pass};
use abide_core::boot::Access;
use abide_core::error::{Error, Result};
use abide_core::root::Root;
use abide_core::state::lock::PATIENTLY;
use abide_core::state::{BootKind, BootNote, Lock, Verdict};
use abide_core::update::Machine;

/// How long after a refused reboot the next one is requested.
const AGAIN: Duration = Duration::from_secs(60);

/// Runs the checks on a committed system: to act on a failure (`every_boot`), to restore the tries of its
/// entry (`rearm`), or both. Does nothing on any other boot, or if neither is configured.
///
/// # Errors
/// [`Error::Failed`] if the system is not healthy, after the response to it; those of reading and
/// changing the ESP.
pub fn assess(root: &Root, config: &Config) -> Result<()> {
    if !config.assess.every_boot && !config.assess.rearm {
        return stop_counting(root, config);
    }
    let kind = BootNote::read(root).map(|note| note.kind);
    if !matches!(kind, Some(BootKind::Committed | BootKind::Fallback)) {
        info!("this is not the boot of a committed system");
        return Ok(());
    }
    let mut run = AssessmentRun::prepare(root, config, &saved_state(root).baseline)?;
    let end = run.run(|_| {});
    if let Err(e) = write_metrics(root, config) {
        warn!("{e}");
    }
    match end {
        // An orderly shutdown is not evidence against the system.
        AssessmentEnd::Stopped if config.assess.rearm => {
            change(root, config, |machine| rearm(machine, config.assess.tries)).map(drop)
        }
        AssessmentEnd::Stopped => Ok(()),
        AssessmentEnd::Passed => {
            info!("the system is healthy");
            after_pass(root, config)
        }
        AssessmentEnd::Failed(cause) => {
            let results = run.results();
            let open = results.iter().filter(|r| !r.result.is_fine()).map(|r| r.name.clone());
            after_failure(root, config, &diagnosis::of_checks(&cause, &results), open.collect())
        }
    }
}

fn after_pass(root: &Root, config: &Config) -> Result<()> {
    change(root, config, |machine| {
        pass(machine)?;
        if config.assess.rearm {
            rearm(machine, config.assess.tries)?;
        }
        Ok(())
    })
}

/// `open`: the checks that have not passed: one of them was decisive first, and on another system another may be.
fn after_failure(root: &Root, config: &Config, verdict: &Verdict, open: Vec<String>) -> Result<()> {
    let reason = &verdict.reason;
    let (version, reaction) = respond(root, config, reason, open)?;
    publish(root, config, &Event::of_running(root, EventKind::Unhealthy, &version).because(verdict));
    match reaction {
        Reaction::Reboot => {
            warn!("{version} is not healthy: {reason}; rebooting once");
            reboot_when_allowed(root);
        }
        Reaction::GoToOther(other) => {
            warn!("{version} is not healthy after a reboot: {reason}; switching to {other}");
            reboot_when_allowed(root);
        }
        Reaction::Stay(why) => warn!("{version} is not healthy: {reason}; it keeps running: {why}"),
    }
    Err(Error::Failed(format!("the system is not healthy: {reason}")))
}

/// Requests the reboot, again and again while something inhibits it. The unit ends with the shutdown.
fn reboot_when_allowed(root: &Root) {
    while let Err(e) = reboot::request(root, Manner::Orderly) {
        warn!("{e}; requesting the reboot again in {} seconds", AGAIN.as_secs());
        sleep(AGAIN);
    }
}

/// The version that runs, and the reaction to its failure.
fn respond(root: &Root, config: &Config, reason: &str, open: Vec<String>) -> Result<(String, Reaction)> {
    change(root, config, |machine| {
        let version = machine.running_entry()?.version.unwrap_or_default();
        let reaction = if config.assess.every_boot {
            fail(machine, reason, open, config.assess.tries, &config.scripts)?
        } else {
            Reaction::Stay("this boot has used up a try".into())
        };
        Ok((version, reaction))
    })
}

/// Removes the counter of the running entry: without the assessment nothing would restore the tries.
fn stop_counting(root: &Root, config: &Config) -> Result<()> {
    if BootNote::read(root).is_some_and(|note| note.counted) { change(root, config, disarm) } else { Ok(()) }
}

fn change<T>(root: &Root, config: &Config, act: impl FnOnce(&mut Machine) -> Result<T>) -> Result<T> {
    let _lock = Lock::wait(root, PATIENTLY)?;
    act(&mut Machine::read(root, config.slots.as_ref(), Access::Write)?)
}

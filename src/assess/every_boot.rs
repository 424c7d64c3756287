//! Is the committed system healthy? Asked at every boot, where the configuration wants it.

use log::{info, warn};

use crate::assess::progress::Progress;
use crate::assess::terminate;
use crate::assess::trial_boot::{remembered, verdict};
use crate::config::Config;
use crate::events::{Event, Kind, announce, write_metrics};
use crate::health::Assessment;
use crate::health::MonotonicClock;
use crate::health::runner;
use crate::health::runner::{AssessmentEnd, Runner};
use crate::update::rearm::{disarm, rearm};
use crate::update::unhealthy::{Reaction, fail, pass};
use abide_core::boot::Access;
use abide_core::error::{Error, Result};
use abide_core::root::Root;
use abide_core::state::{BootKind, BootNote, Lock, Phase};
use abide_core::update::Machine;
use abide_core::update::reboot;
use abide_core::update::reboot::Manner;

/// Runs the checks on a committed system: to act on what they find, to give its entry its tries back,
/// or both. Does nothing on any other boot, or if neither is asked for.
///
/// # Errors
/// [`Error::Failed`] if the system is not healthy, once all was done that can be done about it;
/// those of surveying and changing the ESP.
pub fn assess(root: &Root, config: &Config) -> Result<()> {
    if !config.assess.every_boot && !config.assess.rearm {
        return stop_counting(root, config);
    }
    let kind = BootNote::read(root).map(|note| note.kind);
    if !matches!(kind, Some(BootKind::Committed | BootKind::Fallback)) {
        info!("this boot is not one of a committed system");
        return Ok(());
    }
    let clock = MonotonicClock::new(root);
    let checks = runner::prepare(config, &remembered(root).baseline, root);
    let mut window =
        Assessment::new(config.assess.test_window, config.assess.deadline, runner::rules(&checks));
    let mut runner = Runner::new(checks, clock);
    let stopper = runner.stopper();
    terminate::on_request(move || stopper.stop())?;
    let mut progress = Progress::new(root, &config.assess, clock);
    let end = runner.assess(&mut window, |standing, results| progress.show(standing, results));
    if let Err(e) = write_metrics(root, config) {
        warn!("{e}");
    }
    match end {
        // Whoever shuts it down in good order says nothing against it.
        AssessmentEnd::Stopped if config.assess.rearm => {
            change(root, config, |machine| rearm(machine, config.assess.tries)).map(drop)
        }
        AssessmentEnd::Stopped => Ok(()),
        AssessmentEnd::Passed => {
            info!("the system is healthy");
            change(root, config, |machine| {
                pass(machine)?;
                if config.assess.rearm {
                    rearm(machine, config.assess.tries)?;
                }
                Ok(())
            })
        }
        AssessmentEnd::Failed(failure) => {
            let results = runner.results();
            let verdict = verdict(Phase::Checks, failure.reason, &failure.checks, &results);
            let (version, answer) = respond(root, config, &verdict.reason)?;
            let event = Event::of_running(root, Kind::Unhealthy, &version).because(&verdict);
            announce(root, config, &event);
            let reason = &verdict.reason;
            match answer {
                Reaction::Reboot => {
                    warn!("{version} is not healthy: {reason}; rebooting once");
                    reboot::request(root, Manner::Orderly)?;
                }
                Reaction::GoToOther(other) => {
                    warn!("{version} is not healthy after a reboot: {reason}; going to {other}");
                    reboot::request(root, Manner::Orderly)?;
                }
                Reaction::Stay(why) => warn!("nothing is done about it: {why}; staying"),
            }
            Err(Error::Failed(format!("the system is not healthy: {reason}")))
        }
    }
}

/// The version that runs, and what is to be done.
fn respond(root: &Root, config: &Config, reason: &str) -> Result<(String, Reaction)> {
    change(root, config, |machine| {
        let version = machine.running_entry()?.version.unwrap_or_default();
        let answer = match config.assess.every_boot {
            true => fail(machine, reason, config.assess.tries)?,
            false => Reaction::Stay("this boot has used up a try".into()),
        };
        Ok((version, answer))
    })
}

/// Nobody would give the tries back any more.
fn stop_counting(root: &Root, config: &Config) -> Result<()> {
    match BootNote::read(root).is_some_and(|note| note.counted) {
        true => change(root, config, disarm),
        false => Ok(()),
    }
}

fn change<T>(root: &Root, config: &Config, act: impl FnOnce(&mut Machine) -> Result<T>) -> Result<T> {
    let _lock = Lock::wait(root)?;
    act(&mut Machine::survey(root, config.slots.as_ref(), Access::Write)?)
}

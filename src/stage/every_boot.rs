//! Is the committed system healthy? Asked at every boot, where the configuration wants it.

use log::{info, warn};

use super::assess::{remembered, verdict};
use super::progress::Progress;
use super::terminate;
use crate::announce::{Event, Kind, announce, write_metrics};
use crate::boot::Access;
use crate::config::Config;
use crate::error::{Error, Result};
use crate::health::Window;
use crate::health::clock::Clock;
use crate::health::runner::{self, End, Runner};
use crate::root::Root;
use crate::state::{BootKind, BootNote, Lock, Phase};
use crate::update::Machine;
use crate::update::every_boot::{Answer, fail, pass};
use crate::update::reboot::{self, Manner};

/// Runs the checks on a committed system. Does nothing on any other boot, or if it is not asked for.
///
/// # Errors
/// [`Error::Failed`] if the system is not healthy, once all was done that can be done about it;
/// those of surveying and changing the ESP.
pub fn assess(root: &Root, config: &Config) -> Result<()> {
    if !config.assess.every_boot {
        return Ok(());
    }
    let kind = BootNote::read(root).map(|note| note.kind);
    if !matches!(kind, Some(BootKind::Committed | BootKind::Fallback)) {
        info!("this boot is not one of a committed system");
        return Ok(());
    }
    let clock = Clock::new(root);
    let checks = runner::prepare(config, &remembered(root).baseline, root);
    let mut window = Window::new(config.assess.test_window, config.assess.deadline, runner::rules(&checks));
    let mut runner = Runner::new(checks, clock);
    let stopper = runner.stopper();
    terminate::on_request(move || stopper.stop())?;
    let mut progress = Progress::new(root, &config.assess, clock);
    let end = runner.assess(&mut window, |standing, results| progress.show(standing, results));
    if let Err(e) = write_metrics(root, config) {
        warn!("{e}");
    }
    match end {
        End::Stopped => Ok(()),
        End::Passed => {
            info!("the system is healthy");
            let _lock = Lock::wait(root)?;
            pass(&mut Machine::survey(root, config, Access::Write)?)
        }
        End::Failed(failure) => {
            let results = runner.results();
            let verdict = verdict(Phase::Checks, failure.reason, &failure.checks, &results);
            let (version, answer) = respond(root, config, &verdict.reason)?;
            let event = Event::of_running(root, Kind::Unhealthy, &version).because(&verdict);
            announce(root, config, &event);
            let reason = &verdict.reason;
            match answer {
                Answer::Reboot => {
                    warn!("{version} is not healthy: {reason}; rebooting once");
                    reboot::request(root, Manner::Orderly)?;
                }
                Answer::GoToOther(other) => {
                    warn!("{version} is not healthy after a reboot: {reason}; going to {other}");
                    reboot::request(root, Manner::Orderly)?;
                }
                Answer::Stay(why) => warn!("nothing is left to try: {why}; staying"),
            }
            Err(Error::Failed(format!("the system is not healthy: {reason}")))
        }
    }
}

/// The version that runs, and what is to be done.
fn respond(root: &Root, config: &Config, reason: &str) -> Result<(String, Answer)> {
    let _lock = Lock::wait(root)?;
    let mut machine = Machine::survey(root, config, Access::Write)?;
    let version = machine.running_entry()?.version.unwrap_or_default();
    let answer = fail(&mut machine, reason, config.assess.tries)?;
    Ok((version, answer))
}

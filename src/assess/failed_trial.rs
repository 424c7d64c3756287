//! The end of a failed trial: its event is published, and the machine reboots.
//!
//! Each cause arrives with its verdict ([`super::diagnosis`]): a failed check and a configuration that cannot be read
//! from [`super::trial_boot`] (`assess_trial`, `assess`), a deadline that has passed and a failed unit from their own
//! units, through the functions here. [`abide_core::update::trial::end`] then decides by `on_failure` between a
//! rollback, which gives the update up, and a retry, which loses this try only.

use std::time::Duration;

use log::{error, info, warn};

use crate::assess::{deadline, diagnosis};
use crate::config::Config;
use crate::events::{Event, EventKind, outcome_scripts, publish, run_bounded};
use crate::files;
use crate::systemd::reboot;
use crate::systemd::reboot::Manner;
use abide_core::boot::Access;
use abide_core::config::OnFailure;
use abide_core::error::Result;
use abide_core::root::Root;
use abide_core::state::boot_note::boot_id;
use abide_core::state::lock::BRIEFLY;
use abide_core::state::{BootNote, Lock, Update, Verdict};
use abide_core::update::Machine;
use abide_core::update::finding::blind::is_counted;
use abide_core::update::trial::{Ended, end};

/// A marker for this boot: the event of its failure was published.
const PUBLISHED: &str = "/run/abide/failure-told";

/// How long events and scripts may delay the reboot.
const MAX_DELAY: Duration = Duration::from_secs(30);

/// Ends the trial after its deadline; for abide-deadline.service. If the configured deadline is later than the one that
/// the timer has, the timer is set again instead.
///
/// # Errors
/// [`abide_core::error::Error::Failed`] if the machine cannot be rebooted, or the timer cannot be set: the unit then
/// reboots, which loses this try.
pub fn after_deadline(root: &Root, config: Result<Config>) -> Result<()> {
    if let Ok(config) = &config
        && !deadline::has_passed(root, config.assess.deadline)
    {
        return deadline::set_again(root, config.assess.deadline);
    }
    let config = config.unwrap_or_default();
    let verdict = diagnosis::of_deadline(root, config.assess.deadline);
    end_failed_trial(root, &config, verdict, config.assess.on_failure)
}

/// Ends the trial after the assessment, or a unit that boot-complete.target requires, has failed; for
/// abide-rollback.service.
///
/// # Errors
/// [`abide_core::error::Error::Failed`] if the machine cannot be rebooted.
pub fn after_failed_unit(root: &Root, config: Result<Config>) -> Result<()> {
    let config = config.unwrap_or_default();
    let verdict = diagnosis::of_failed_unit(root, config.assess.deadline);
    end_failed_trial(root, &config, verdict, config.assess.on_failure)
}

/// Ends the trial for `verdict`: gives the update up or loses this try, publishes the event once for this
/// boot, and reboots.
///
/// # Errors
/// [`abide_core::error::Error::Failed`] if the machine cannot be rebooted.
pub(super) fn end_failed_trial(root: &Root, config: &Config, verdict: Verdict, how: OnFailure) -> Result<()> {
    let reason = verdict.clone();
    end_boot(root, verdict, how, |update| {
        let marker = root.path(PUBLISHED);
        if marker.exists() {
            return;
        }
        let event = Event::of_update(root, EventKind::Failed, update).because(&reason);
        let (root, config) = (root.clone(), config.clone());
        run_bounded(MAX_DELAY, "publishing the failure of the trial", move || {
            publish(&root, &config, &event);
            outcome_scripts::run(&root, &config.scripts, &event);
            if let Err(e) = files::replace(&marker, b"") {
                warn!("{e}");
            }
        });
    })
}

/// Ends this boot for `verdict`, if it is an uncommitted trial; then reboots, unless the model of the loader says that
/// the same system would boot again. Repeating it only reboots again.
///
/// What cannot be written does not keep the machine from rebooting if the loader has counted this try. `tell` is
/// called before the reboot, once all else is done.
fn end_boot(root: &Root, verdict: Verdict, how: OnFailure, tell: impl FnOnce(&Update)) -> Result<()> {
    let ended = Lock::wait(root, BRIEFLY).and_then(|_lock| {
        let mut machine = Machine::read_boot(root, Access::Write)?;
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
        Err(e) if is_counted(root) => {
            error!("{e}; this try is used up");
            reboot::request(root, Manner::Forced)
        }
        // A reboot would lead to the same try, again and again.
        Err(e) => {
            error!("{e}; the boot loader has not counted this try, so the system keeps running");
            BootNote::unknown(boot_id(root), e.to_string()).write(root)
        }
    }
}

//! How a run ends, and what follows from that. Pure.

use std::time::Duration;

use jiff::Timestamp;

use crate::agent::cost::Cost;
use crate::agent::goal::{Subject, Wait};
use crate::feed::policy::Candidate;
use abide_core::error::Result;

/// After this time the unprivileged part runs again. Not at once: it may have failed before it could note the error.
const UNPRIVILEGED_AGAIN: Duration = Duration::from_secs(30);

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// No source is configured.
    Off,
    /// There is nothing to do now.
    Wait(Wait),
    /// The next step needs privileges that this run does not have.
    Unprivileged,
    /// The machine reboots.
    Reboot,
}

/// The result of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunResult {
    /// How it ended.
    pub end: End,
    /// The release to install, if there is one.
    pub candidate: Option<Candidate>,
    /// Its bytes.
    pub cost: Cost,
}

/// Why the update is deferred after the run, if it is. An error defers it, too; so does a source that has no image for
/// this machine, or a newer one that is not for it now.
pub fn deferral(end: &Result<End>, has_candidate: bool) -> Option<Wait> {
    match end {
        Ok(End::Wait(wait)) => {
            let is_told = wait.defers || matches!(wait.subject, Subject::NoImage | Subject::Held);
            is_told.then(|| wait.clone())
        }
        Ok(_) => None,
        Err(e) => has_candidate.then(|| Wait::defer(e.to_string(), None)),
    }
}

/// When the units run next. `poll_at`: the time of the next poll; `is_reachable`: whether the last poll succeeded;
/// `interval`: of the polls.
pub fn next_run(
    end: Option<&End>,
    now: Timestamp,
    poll_at: Timestamp,
    is_reachable: bool,
    interval: Duration,
) -> Timestamp {
    let until = match end {
        Some(End::Wait(wait)) => wait.until,
        Some(End::Unprivileged) if is_reachable => now.checked_add(UNPRIVILEGED_AGAIN).ok(),
        _ => None,
    };
    soonest(now, until, poll_at, interval)
}

/// The earliest of the times that are in the future. A poll that is due already may just have failed, or have
/// become due during a download or a write: the next one is an `interval` later, however late `until` is.
fn soonest(now: Timestamp, until: Option<Timestamp>, poll: Timestamp, interval: Duration) -> Timestamp {
    let is_future = |time: &Timestamp| *time > now;
    let poll = if is_future(&poll) { poll } else { now.checked_add(interval).unwrap_or(Timestamp::MAX) };
    until.filter(is_future).map_or(poll, |until| until.min(poll))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use abide_core::error::Error;

    const MINUTE: Duration = Duration::from_secs(60);

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn the_next_run_is_at_the_earliest_time_in_the_future() {
        assert_eq!(soonest(at(1000), Some(at(1030)), at(1040), MINUTE), at(1030));
        assert_eq!(soonest(at(1000), Some(at(1900)), at(1040), MINUTE), at(1040));
        assert_eq!(soonest(at(1000), None, at(1040), MINUTE), at(1040));
    }

    #[test]
    fn a_poll_that_became_due_meanwhile_does_not_wait_for_the_window() {
        assert_eq!(soonest(at(1000), Some(at(1900)), at(990), MINUTE), at(1060));
        assert_eq!(soonest(at(1000), Some(at(990)), at(1000), MINUTE), at(1060));
    }

    #[test]
    fn an_unprivileged_step_comes_soon_unless_the_server_is_unreachable() {
        let next =
            |is_reachable| next_run(Some(&End::Unprivileged), at(1000), at(5000), is_reachable, MINUTE);
        assert_eq!((next(true), next(false)), (at(1030), at(5000)));
    }

    #[test]
    fn an_error_defers_an_update_and_a_run_without_one_defers_nothing() {
        let error: Result<End> = Err(Error::Image("timeout".into()));
        assert_eq!(deferral(&error, true), Some(Wait::defer("timeout", None)));
        assert_eq!(deferral(&error, false), None);
        assert_eq!(deferral(&Ok(End::Wait(Wait::idle("Up to date"))), true), None);
        let none = Wait::idle("nothing for edge").about(Subject::NoImage);
        assert_eq!(deferral(&Ok(End::Wait(none.clone())), false), Some(none));
        assert_eq!(deferral(&Ok(End::Reboot), true), None);
    }
}

//! The next step of an update, from the machine's state. Pure.
//!
//! Each step may be interrupted and repeated: its result is in the inputs of the next decision. A step that the
//! run has no privileges for is left to the other part of the agent.

use jiff::Timestamp;

use crate::agent::goal::{Ending, Goal, ReleaseState, Subject, Wait};
use crate::agent::mode::Mode;
use crate::agent::privileges::Privileges;
use crate::feed::policy::Candidate;

/// What the next step follows from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inputs {
    /// The current time.
    pub now: Timestamp,
    /// What the run was started for.
    pub mode: Mode,
    /// What it may do.
    pub privileges: Privileges,
    /// Whether it has polled the source.
    pub polled: bool,
    /// The time of the next poll; none: not in this run.
    pub next_poll: Option<Timestamp>,
    /// What the source wants, from the last poll.
    pub wanted: Goal,
    /// When the download starts.
    pub download_at: Timestamp,
    /// Why the last download of the release failed, if it did.
    pub download_error: Option<String>,
    /// Why the machine must not be rebooted now: the source, a window, an inhibitor.
    pub reboot_hold: Option<Wait>,
    /// Whether the source must be polled before the reboot, since it may have withdrawn the update.
    pub confirm: bool,
    /// The reboot lock.
    pub reboot_lock: RebootLock,
}

/// Whether the machine has the lock that it needs to reboot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RebootLock {
    /// It holds the lock, or needs none.
    Held,
    /// It must acquire the lock.
    Needed,
}

/// A step of an update.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NextStep {
    /// Poll the source.
    Poll,
    /// Tell the source how its assignment ends.
    Answer(Ending),
    /// Fetch the release.
    Fetch(Candidate),
    /// Write it into the other slot.
    Write(Candidate),
    /// Acquire the reboot lock.
    AcquireLock(Candidate),
    /// Make it boot next, on trial.
    Apply(Candidate),
    /// Reboot into it.
    Reboot(Candidate),
    /// Nothing, for now.
    Wait(Wait),
    /// Leave the next step to the part of the agent that has the privileges for it.
    Leave,
}

/// The next step.
pub fn next_step(inputs: &Inputs) -> NextStep {
    let step = by_state(inputs);
    if is_allowed(&step, inputs.privileges) { step } else { NextStep::Leave }
}

fn is_allowed(step: &NextStep, privileges: Privileges) -> bool {
    match step {
        NextStep::Poll | NextStep::Answer(_) | NextStep::Fetch(_) | NextStep::AcquireLock(_) => {
            privileges.network
        }
        NextStep::Write(_) => privileges.write,
        NextStep::Apply(_) | NextStep::Reboot(_) => privileges.boot,
        NextStep::Wait(_) | NextStep::Leave => true,
    }
}

fn by_state(inputs: &Inputs) -> NextStep {
    if let Goal::Ended(ending) = &inputs.wanted
        && inputs.privileges.network
        && inputs.polled
        && inputs.mode != Mode::Check
    {
        return NextStep::Answer(ending.clone());
    }
    if inputs.next_poll.is_some_and(|at| at <= inputs.now) {
        return NextStep::Poll;
    }
    let (candidate, state) = match &inputs.wanted {
        Goal::Nothing(wait) => return NextStep::Wait(wait.clone()),
        Goal::Ended(ending) => {
            let subject = match ending {
                Ending::Done(_) => Subject::UpToDate,
                Ending::Refused(_) => Subject::Other,
            };
            return NextStep::Wait(Wait::idle(ending.why()).about(subject));
        }
        Goal::Release(candidate, state) => (candidate.clone(), *state),
    };
    match (state, inputs.mode) {
        (_, Mode::Check) => NextStep::Wait(Wait::idle("Available")),
        (ReleaseState::Remote, Mode::Scheduled) if inputs.now < inputs.download_at => {
            NextStep::Wait(Wait::defer(download_wait(inputs), Some(inputs.download_at)))
        }
        (ReleaseState::Remote, _) => NextStep::Fetch(candidate),
        (ReleaseState::Fetched, _) => NextStep::Write(candidate),
        (ReleaseState::Staged | ReleaseState::Applied, Mode::DownloadOnly) => {
            NextStep::Wait(Wait::idle("Downloaded and verified"))
        }
        (ReleaseState::Staged, _) => before_reboot(inputs, candidate, NextStep::Apply),
        (ReleaseState::Applied, _) => before_reboot(inputs, candidate, NextStep::Reboot),
    }
}

/// Why the download does not start yet.
fn download_wait(inputs: &Inputs) -> String {
    match &inputs.download_error {
        Some(error) => format!("The download failed and is tried again later: {error}"),
        None => "Waiting for the scheduled time of the download".to_owned(),
    }
}

/// `step`, or what must come before it.
fn before_reboot(inputs: &Inputs, candidate: Candidate, step: fn(Candidate) -> NextStep) -> NextStep {
    match &inputs.reboot_hold {
        Some(wait) if inputs.mode != Mode::Now => NextStep::Wait(wait.clone()),
        _ if inputs.confirm => NextStep::Poll,
        _ if inputs.reboot_lock == RebootLock::Needed => NextStep::AcquireLock(candidate),
        _ => step(candidate),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::feed::catalog::{Release, Terms};
    use crate::feed::published::{ListedFile, ReleaseFiles};

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn candidate() -> Candidate {
        let file = ListedFile { name: "edge_2.0.raw".into(), sha256: "d2".into() };
        let release = Release {
            image: "edge".into(),
            version: "2.0".into(),
            arch: None,
            files: ReleaseFiles::Disk(file),
            parts: None,
            digest: "d2".into(),
            terms: Terms::default(),
        };
        Candidate { release, towards: None, downgrade: false, retry: false }
    }

    fn inputs(state: ReleaseState) -> Inputs {
        Inputs {
            now: at(100),
            mode: Mode::Scheduled,
            privileges: Privileges::ALL,
            polled: false,
            next_poll: Some(at(200)),
            wanted: Goal::Release(candidate(), state),
            download_at: at(100),
            download_error: None,
            reboot_hold: None,
            confirm: false,
            reboot_lock: RebootLock::Held,
        }
    }

    const ALL: [ReleaseState; 4] =
        [ReleaseState::Remote, ReleaseState::Fetched, ReleaseState::Staged, ReleaseState::Applied];

    #[test]
    fn a_release_is_fetched_written_applied_and_booted() {
        let steps = ALL.map(|state| next_step(&inputs(state)));
        let c = candidate;
        let expected =
            [NextStep::Fetch, NextStep::Write, NextStep::Apply, NextStep::Reboot].map(|step| step(c()));
        assert_eq!(steps, expected);
    }

    #[test]
    fn each_part_of_the_agent_does_the_steps_of_its_privileges_only() {
        let done = |privileges| {
            ALL.map(|state| next_step(&Inputs { privileges, ..inputs(state) }) != NextStep::Leave)
        };
        assert_eq!(done(Privileges::FETCH), [true, false, false, false]);
        assert_eq!(done(Privileges::WRITE), [false, true, false, false]);
        assert_eq!(done(Privileges::BOOT), [false, false, true, true]);
        let locked = Inputs { reboot_lock: RebootLock::Needed, ..inputs(ReleaseState::Staged) };
        assert_eq!(next_step(&Inputs { privileges: Privileges::BOOT, ..locked.clone() }), NextStep::Leave);
        let step = next_step(&Inputs { privileges: Privileges::FETCH, ..locked });
        assert_eq!(step, NextStep::AcquireLock(candidate()));
    }

    #[test]
    fn the_source_is_polled_when_it_is_due() {
        let due = Inputs { next_poll: Some(at(100)), ..inputs(ReleaseState::Staged) };
        assert_eq!(next_step(&due), NextStep::Poll);
        assert_eq!(next_step(&Inputs { next_poll: None, ..due }), NextStep::Apply(candidate()));
    }

    #[test]
    fn a_hold_delays_the_reboot_but_not_the_download_or_the_write() {
        let wait = Wait::defer("no window", Some(at(500)));
        let held = |state| Inputs {
            reboot_hold: Some(wait.clone()),
            reboot_lock: RebootLock::Needed,
            ..inputs(state)
        };
        assert_eq!(next_step(&held(ReleaseState::Remote)), NextStep::Fetch(candidate()));
        assert_eq!(next_step(&held(ReleaseState::Fetched)), NextStep::Write(candidate()));
        assert_eq!(next_step(&held(ReleaseState::Staged)), NextStep::Wait(wait.clone()));
        assert_eq!(next_step(&held(ReleaseState::Applied)), NextStep::Wait(wait.clone()));
        // The lock is not acquired before the reboot can follow.
        let lock = NextStep::AcquireLock(candidate());
        assert_eq!(next_step(&Inputs { reboot_hold: None, ..held(ReleaseState::Staged) }), lock);
        assert_eq!(next_step(&Inputs { mode: Mode::Now, ..held(ReleaseState::Staged) }), lock);
        let now = Inputs { mode: Mode::Now, reboot_lock: RebootLock::Held, ..held(ReleaseState::Applied) };
        assert_eq!(next_step(&now), NextStep::Reboot(candidate()));
    }

    #[test]
    fn a_source_that_may_withdraw_is_polled_before_the_lock_and_the_reboot() {
        let confirm =
            Inputs { confirm: true, reboot_lock: RebootLock::Needed, ..inputs(ReleaseState::Staged) };
        assert_eq!(next_step(&confirm), NextStep::Poll);
        assert_eq!(next_step(&Inputs { privileges: Privileges::BOOT, ..confirm }), NextStep::Leave);
    }

    #[test]
    fn a_download_waits_for_its_time_unless_an_operator_waits_for_it() {
        let early = Inputs { download_at: at(150), ..inputs(ReleaseState::Remote) };
        assert!(matches!(next_step(&early), NextStep::Wait(wait) if wait.until == Some(at(150))));
        assert_eq!(next_step(&Inputs { mode: Mode::Update, ..early }), NextStep::Fetch(candidate()));
    }

    #[test]
    fn download_only_ends_in_the_slot_and_check_before_the_download() {
        let step = |mode, state| next_step(&Inputs { mode, ..inputs(state) });
        assert_eq!(step(Mode::DownloadOnly, ReleaseState::Fetched), NextStep::Write(candidate()));
        assert!(matches!(step(Mode::DownloadOnly, ReleaseState::Staged), NextStep::Wait(_)));
        assert!(matches!(step(Mode::Check, ReleaseState::Remote), NextStep::Wait(_)));
    }

    #[test]
    fn an_assignment_that_ends_is_answered_after_a_poll_with_network() {
        let ending = Ending::Refused("below the floor".into());
        let ended =
            Inputs { wanted: Goal::Ended(ending.clone()), polled: true, ..inputs(ReleaseState::Remote) };
        assert_eq!(next_step(&ended), NextStep::Answer(ending));
        let idle = NextStep::Wait(Wait::idle("below the floor"));
        assert_eq!(next_step(&Inputs { polled: false, ..ended.clone() }), idle);
        assert_eq!(next_step(&Inputs { privileges: Privileges::BOOT, ..ended.clone() }), idle);
        // A check asks only.
        assert_eq!(next_step(&Inputs { mode: Mode::Check, next_poll: None, ..ended }), idle);
    }
}

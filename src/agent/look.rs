//! What the next step follows from: the machine, the feed as it was seen last, and the clock.

use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::agent::Run;
use crate::agent::next_step::{Come, Facts, Order, Wait, Wanted};
use crate::agent::source::hawkbit::Handling;
use crate::agent::survey::{Survey, booted_at, machine_id};
use crate::feed::catalog::Release;
use crate::feed::jitter::{download_at, next_poll, seed};
use crate::feed::maintenance_window::{Begin, begin};
use crate::feed::memory::InstallState;
use crate::feed::policy;
use crate::feed::policy::{Candidate, decide};
use crate::feed::poll;
use abide_core::boot::Access;
use abide_core::error::Result;
use abide_core::update::Machine;

/// After a failure the feed is looked at again after this, then after twice as long, up to the interval.
const FIRST_RETRY: Duration = Duration::from_secs(2 * 60);

/// An image that could not be written so often is not tried again by itself.
pub(super) const MOST_REFUSALS: u32 = 3;

/// Reboots after which an update that the loader does not boot is left alone.
pub(super) const MOST_REBOOTS: u32 = 3;

/// A server is not asked more often.
const SHORTEST: Duration = Duration::from_secs(10);

/// While something holds off the reboot, it is looked at again after this.
const LOOK_AGAIN: Duration = Duration::from_secs(5 * 60);

/// What was found.
pub(super) struct Look {
    pub facts: Facts,
    pub candidate: Option<Candidate>,
    /// What ends the action of a server that orders updates.
    pub verdict: Option<Verdict>,
}

/// What the policy says of what was seen last.
pub(super) struct Wants {
    pub wanted: Wanted,
    pub candidate: Option<Candidate>,
    pub verdict: Option<Verdict>,
}

/// How an action ends that this machine does nothing about.
pub(super) enum Verdict {
    /// What it wants is so already.
    Done(String),
    /// It is not done.
    Refused(String),
}

impl Wants {
    pub(super) fn nothing(wait: Wait) -> Self {
        Self { wanted: Wanted::Nothing(wait), candidate: None, verdict: None }
    }

    pub(super) fn verdict(verdict: Verdict) -> Self {
        let (Verdict::Done(why) | Verdict::Refused(why)) = &verdict;
        let nothing = Self::nothing(Wait::rest(why));
        Self { verdict: Some(verdict), ..nothing }
    }
}

impl Run<'_> {
    /// Looks at everything.
    pub(super) fn look(&self) -> Result<Look> {
        let now = Timestamp::now();
        let survey = self.survey()?;
        let Wants { wanted, candidate, verdict } = match self.orders {
            true => self.ordered(&survey, now)?,
            false => {
                let (wanted, candidate) = self.wanted(&survey, now)?;
                Wants { wanted, candidate, verdict: None }
            }
        };
        let taken_digest = candidate.as_ref().map_or("", |candidate| candidate.release.digest.as_str());
        let facts = Facts {
            now,
            order: self.order,
            next_poll: self.next_poll(now),
            wanted,
            begins: self.begins(taken_digest, now),
            shut: self.shut(&survey, taken_digest, now),
            turn: self.turn(taken_digest),
        };
        Ok(Look { facts, candidate, verdict })
    }

    /// The machine, as it is seen by whoever is root, else as it was left by whoever is.
    pub(super) fn survey(&self) -> Result<Survey> {
        match self.powers.is_root() {
            true => Survey::of(
                &Machine::survey(self.root, self.config.slots.as_ref(), Access::Read)?,
                self.config,
            ),
            false => Survey::read(self.root),
        }
    }

    /// When the feed is looked at next. Who asks by hand has it looked at once, right now.
    fn next_poll(&self, now: Timestamp) -> Option<Timestamp> {
        if !self.powers.network {
            return None;
        }
        match (self.order, self.polled) {
            // A server that has ordered something may have thought better of it.
            (Order::Follow, false) if self.ledger.task.is_some() => Some(now),
            (Order::Follow, _) => Some(self.poll_at(now)),
            (_, false) => Some(now),
            (_, true) => None,
        }
    }

    /// When the feed is looked at next by itself: at this machine's own moment of the interval, counted from
    /// the last time, or from the boot: machines that come up together do not ask together.
    pub(super) fn poll_at(&self, now: Timestamp) -> Timestamp {
        let rules = &self.config.update;
        let (interval, jitter) = match self.seen.failures {
            0 => match self
                .ledger
                .sleep
                .map(|sleep| Duration::from_secs(sleep).clamp(SHORTEST, rules.interval))
            {
                // The server knows best how many it has to answer.
                Some(sleep) => (sleep, rules.jitter.min(sleep / 10)),
                None => (rules.interval, rules.jitter),
            },
            n => {
                let retry = FIRST_RETRY.saturating_mul(1 << n.min(16).saturating_sub(1)).min(rules.interval);
                (retry, retry)
            }
        };
        let tried = self.seen.tried.and_then(|tried| past(tried, now));
        let last = tried.max(booted_at(self.root, now)).unwrap_or(Timestamp::UNIX_EPOCH);
        next_poll(seed(&[&machine_id(self.root), "poll"]), last, interval, jitter)
    }

    /// What the policy says of what was seen last.
    fn wanted(&self, survey: &Survey, now: Timestamp) -> Result<(Wanted, Option<Candidate>)> {
        let nothing = |wait| Ok((Wanted::Nothing(wait), None));
        let folder = match self.feed.is_remote() {
            true => self.cache.folder(),
            false => Some(self.feed.clone()),
        };
        let has_list = self.cache.list().is_some() || !self.feed.is_remote();
        let Some(folder) = folder.filter(|_| has_list) else {
            return nothing(Wait::rest("The feed was not looked at yet"));
        };
        let catalog = match poll::read(&folder, &self.judge) {
            Ok(catalog) => catalog,
            // Whoever can looks at the feed first, and has a new list then.
            Err(e) if self.powers.network && !self.polled => return nothing(Wait::rest(e.to_string())),
            Err(e) => return Err(e),
        };
        let decision = decide(&survey.facts(), &self.config.update, &catalog, now);
        match decision.ruling {
            policy::Ruling::Take(candidate) => match self.given_up(survey, &candidate.release) {
                Some(wait) => nothing(wait),
                None => Ok((Wanted::Release(self.come(survey, &candidate.release)), Some(candidate))),
            },
            policy::Ruling::UpToDate => nothing(Wait::rest("Up to date")),
            policy::Ruling::Wait { why, until } => nothing(Wait::defer(why, until)),
            policy::Ruling::Refuse { why } => nothing(Wait::defer(why, None)),
        }
    }

    /// Why what the policy wants is not tried any more by itself.
    pub(super) fn given_up(&self, survey: &Survey, release: &Release) -> Option<Wait> {
        if self.order != Order::Follow || self.plan.digest != release.digest {
            return None;
        }
        let version = &release.version;
        let applied = survey.waiting.as_ref().is_some_and(|w| w.applied && w.digest == release.digest);
        if applied && self.plan.reboots >= MOST_REBOOTS {
            return Some(Wait::defer(
                format!(
                    "{version} was applied, but the boot loader keeps booting another entry (`abide list`)"
                ),
                None,
            ));
        }
        (self.plan.refused >= MOST_REFUSALS).then(|| {
            let why = self.plan.waiting.as_deref().unwrap_or("it could not be written");
            Wait::defer(why, None)
        })
    }

    pub(super) fn come(&self, survey: &Survey, release: &Release) -> Come {
        let waiting = survey.waiting.as_ref().filter(|waiting| waiting.digest == release.digest);
        match waiting.map(|waiting| waiting.applied) {
            Some(true) => Come::Applied,
            Some(false) => Come::Staged,
            None if !self.is_fetched() => Come::Fetched,
            None if release.files.files().all(|file| self.has(&file.name, &file.sha256)) => Come::Fetched,
            None => Come::Away,
        }
    }

    /// When the download begins: at a random moment before the window.
    fn begins(&self, digest: &str, now: Timestamp) -> Timestamp {
        if self.ledger.task.as_ref().is_some_and(|task| task.download == Handling::Forced) {
            return now;
        }
        let found = match self.seen.wanted.as_ref().filter(|wanted| wanted.digest == digest) {
            Some(wanted) => past(wanted.found, now).unwrap_or(Timestamp::UNIX_EPOCH),
            None => now,
        };
        let opens = match begin(&self.config.update.windows, now, self.needs()) {
            Begin::At(opens) => Some(opens),
            // It is wanted right now, if there are windows at all.
            Begin::Now(Some(_)) => Some(found),
            Begin::Now(None) | Begin::Never => None,
        };
        let seed = seed(&[&machine_id(self.root), digest]);
        download_at(seed, found, opens, self.config.update.download_spread)
    }

    /// How much of a window an update takes.
    fn needs(&self) -> Duration {
        self.config.assess.test_window
    }

    /// Why the machine may not be rebooted now.
    fn shut(&self, survey: &Survey, digest: &str, now: Timestamp) -> Option<Wait> {
        let rules = &self.config.update;
        if let Some(wait) = self.held_by_server().or_else(|| self.held_by_queue(digest, now)) {
            return Some(wait);
        }
        if self.is_forced() {
            return None;
        }
        match begin(&rules.windows, now, self.needs()) {
            Begin::At(opens) => {
                let when = opens.to_zoned(TimeZone::UTC).strftime("%Y-%m-%d %H:%M UTC");
                return Some(Wait::defer(
                    format!("Waiting for the window that opens at {when}"),
                    Some(opens),
                ));
            }
            Begin::Never => {
                return Some(Wait::defer(
                    "Waiting for a window, but none is to come that is long enough",
                    None,
                ));
            }
            Begin::Now(_) => {}
        }
        if survey.held.is_empty() {
            return None;
        }
        let ready = self.ready_at(digest, now);
        let asked_until = ready.and_then(|ready| ready.checked_add(rules.inhibit.longest).ok());
        if asked_until.is_some_and(|until| until <= now) {
            return None;
        }
        let again = now.checked_add(LOOK_AGAIN).unwrap_or(now);
        let again = asked_until.map_or(again, |until| again.min(until));
        Some(Wait::defer(format!("Waiting: {}", survey.held.join("; ")), Some(again)))
    }

    /// Since when the release could have been applied.
    pub(super) fn ready_at(&self, digest: &str, now: Timestamp) -> Option<Timestamp> {
        let InstallState { ready, digest: of, .. } = &self.plan;
        ready.filter(|_| of == digest).and_then(|ready| past(ready, now))
    }
}

/// A moment that is remembered, unless it lies in the future: then it is of a clock that was wrong.
fn past(second: i64, now: Timestamp) -> Option<Timestamp> {
    Timestamp::from_second(second).ok().filter(|moment| *moment <= now)
}

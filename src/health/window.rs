//! When has a system on trial passed, and when has it failed? A pure state machine: it is told what
//! the checks found and what time it is, and says how things stand.
//!
//! All instants are durations since the start of the kernel on the monotonic clock.

use std::time::Duration;

use crate::health::Finding;
use abide_core::config::duration::format;

/// What the window must know of a check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// For messages and records.
    pub name: String,
    /// Whether it decides.
    pub required: bool,
    /// How many failed runs in a row are overlooked.
    pub failures_allowed: u32,
    /// Whether it is someone's answer, which the test window need not wait for: it must have come by
    /// the end.
    pub is_answer: bool,
}

/// How things stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// Not all required checks have passed.
    Unhealthy,
    /// They have; it must stay so until then.
    Healthy {
        /// The end of the test window.
        until: Duration,
    },
    /// The window has held. Every required check that was not started since `since` runs once more.
    LastRound {
        /// The end of the test window.
        since: Duration,
    },
    /// The system has passed.
    Passed,
    /// The system has failed, and nothing can change that.
    Failed(Failure),
}

/// Why a trial failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// One sentence for people.
    pub reason: String,
    /// The checks behind it, with what each said last.
    pub checks: Vec<(String, String)>,
}

#[derive(Debug)]
struct Check {
    rule: Rule,
    has_passed: bool,
    /// Failed runs in a row.
    streak: u32,
    /// When its last finished run was started.
    last_start: Option<Duration>,
    last: Option<Finding>,
}

/// The test window and the deadline around it.
#[derive(Debug)]
pub struct Window {
    length: Duration,
    deadline: Duration,
    checks: Vec<Check>,
    healthy_since: Option<Duration>,
    /// The last break of the window, for the reason of a missed deadline.
    broken_by: Option<String>,
    failed: Option<Failure>,
}

impl Check {
    fn is_healthy(&self) -> bool {
        self.has_passed && self.streak <= self.rule.failures_allowed
    }

    fn problem(&self) -> String {
        match &self.last {
            Some(Finding::NotYet(reason) | Finding::Failed(reason)) => reason.clone(),
            Some(Finding::Pass) => "passed last".into(),
            None => "no result".into(),
        }
    }

    fn sentence(&self) -> String {
        format!("check '{}': {}", self.rule.name, self.problem())
    }
}

impl Window {
    /// A window of `length` that must have ended before `deadline`.
    #[must_use]
    pub fn new(length: Duration, deadline: Duration, rules: Vec<Rule>) -> Self {
        let checks = rules
            .into_iter()
            .map(|rule| Check { rule, has_passed: false, streak: 0, last_start: None, last: None })
            .collect();
        Self { length, deadline, checks, healthy_since: None, broken_by: None, failed: None }
    }

    /// Takes in what run of check `index`, started at `started`, found; `now` is when it was found.
    pub fn record(&mut self, index: usize, started: Duration, now: Duration, finding: Finding) {
        let Some(check) = self.checks.get_mut(index) else { return };
        match &finding {
            Finding::Pass => {
                check.has_passed = true;
                check.streak = 0;
            }
            Finding::NotYet(_) | Finding::Failed(_) => check.streak = check.streak.saturating_add(1),
        }
        let for_good = matches!(finding, Finding::Failed(_)) && check.streak > check.rule.failures_allowed;
        check.last_start = Some(started);
        check.last = Some(finding);
        if !check.rule.required {
            return;
        }
        if for_good && self.failed.is_none() {
            self.failed = Some(Failure {
                reason: check.sentence(),
                checks: vec![(check.rule.name.clone(), check.problem())],
            });
        }
        if check.rule.is_answer {
            return;
        }
        let broken = (!check.is_healthy()).then(|| check.sentence());
        match (broken, self.healthy_since) {
            (Some(sentence), Some(_)) => {
                self.healthy_since = None;
                self.broken_by = Some(sentence);
            }
            (None, None) if self.watched().all(Check::is_healthy) => self.healthy_since = Some(now),
            _ => {}
        }
    }

    /// How things stand at `now`. A failure is final.
    pub fn standing(&mut self, now: Duration) -> Standing {
        if self.failed.is_none() {
            self.failed = self.out_of_time(now);
        }
        if let Some(failure) = &self.failed {
            return Standing::Failed(failure.clone());
        }
        let Some(since) = self.healthy_since else { return Standing::Unhealthy };
        let end = since.saturating_add(self.length);
        if now < end {
            Standing::Healthy { until: end }
        } else if self.required().all(|c| c.is_healthy() && c.last_start.is_some_and(|start| start >= end)) {
            Standing::Passed
        } else {
            Standing::LastRound { since: end }
        }
    }

    /// When [`Window::standing`] changes by itself, if no check finds anything new.
    #[must_use]
    pub fn next_instant(&self, now: Duration) -> Duration {
        let end = match self.healthy_since {
            Some(since) => since.saturating_add(self.length),
            None => self.deadline.saturating_sub(self.length),
        };
        if end > now { end.min(self.deadline) } else { self.deadline }
    }

    fn required(&self) -> impl Iterator<Item = &Check> {
        self.checks.iter().filter(|check| check.rule.required)
    }

    /// Those that the test window begins with.
    fn watched(&self) -> impl Iterator<Item = &Check> {
        self.required().filter(|check| !check.rule.is_answer)
    }

    /// The deadline has passed, or it is certain that it will before the window could end: then
    /// there is nothing left to wait for.
    fn out_of_time(&self, now: Duration) -> Option<Failure> {
        let start = self.healthy_since.unwrap_or(now);
        let hopeless = start.saturating_add(self.length) > self.deadline;
        if now < self.deadline && !hopeless {
            return None;
        }
        let unhealthy: Vec<&Check> = self.required().filter(|check| !check.is_healthy()).collect();
        let cause = match unhealthy.first() {
            Some(check) => check.sentence(),
            None => match &self.broken_by {
                Some(sentence) => format!("the test window was broken by {sentence}"),
                None => "the checks passed too late".into(),
            },
        };
        let limit = format(self.deadline);
        let reason = match now < self.deadline {
            true => format!(
                "{cause}; the test window of {} can no longer end before the deadline of {limit}",
                format(self.length)
            ),
            false => format!("the deadline of {limit} has passed: {cause}"),
        };
        let checks = unhealthy.iter().map(|check| (check.rule.name.clone(), check.problem())).collect();
        Some(Failure { reason, checks })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::panic)]
    use super::*;

    fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn rule(name: &str, required: bool, failures_allowed: u32) -> Rule {
        Rule { name: name.into(), required, failures_allowed, is_answer: false }
    }

    /// A window of 60 s before a deadline of 300 s.
    fn window(rules: Vec<Rule>) -> Window {
        Window::new(s(60), s(300), rules)
    }

    fn pass(window: &mut Window, index: usize, at: u64) {
        window.record(index, s(at), s(at), Finding::Pass);
    }

    fn not_yet(window: &mut Window, index: usize, at: u64) {
        window.record(index, s(at), s(at), Finding::NotYet("not up".into()));
    }

    fn failure(window: &mut Window, at: u64) -> Failure {
        match window.standing(s(at)) {
            Standing::Failed(failure) => failure,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_window_begins_when_the_last_required_check_has_passed() {
        let mut w = window(vec![rule("a", true, 0), rule("b", true, 0)]);
        pass(&mut w, 0, 10);
        assert_eq!(w.standing(s(11)), Standing::Unhealthy);
        pass(&mut w, 1, 20);
        assert_eq!(w.standing(s(21)), Standing::Healthy { until: s(80) });
    }

    #[test]
    fn passing_needs_a_run_of_every_required_check_from_after_the_window() {
        let mut w = window(vec![rule("a", true, 0), rule("b", true, 0)]);
        pass(&mut w, 0, 10);
        pass(&mut w, 1, 10);
        assert_eq!(w.standing(s(70)), Standing::LastRound { since: s(70) });
        pass(&mut w, 0, 70);
        assert_eq!(w.standing(s(71)), Standing::LastRound { since: s(70) });
        w.record(1, s(69), s(72), Finding::Pass);
        assert_eq!(w.standing(s(72)), Standing::LastRound { since: s(70) });
        pass(&mut w, 1, 73);
        assert_eq!(w.standing(s(74)), Standing::Passed);
    }

    #[test]
    fn a_break_in_the_last_round_restarts_the_window() {
        let mut w = window(vec![rule("a", true, 0)]);
        pass(&mut w, 0, 10);
        not_yet(&mut w, 0, 70);
        assert_eq!(w.standing(s(71)), Standing::Unhealthy);
        pass(&mut w, 0, 80);
        assert_eq!(w.standing(s(81)), Standing::Healthy { until: s(140) });
    }

    #[test]
    fn a_required_check_that_breaks_restarts_the_window() {
        let mut w = window(vec![rule("a", true, 0)]);
        pass(&mut w, 0, 10);
        not_yet(&mut w, 0, 65);
        pass(&mut w, 0, 66);
        assert_eq!(w.standing(s(71)), Standing::Healthy { until: s(126) });
    }

    #[test]
    fn failed_runs_that_are_allowed_do_not_break_the_window() {
        let mut w = window(vec![rule("a", true, 2)]);
        pass(&mut w, 0, 10);
        not_yet(&mut w, 0, 20);
        not_yet(&mut w, 0, 30);
        assert_eq!(w.standing(s(31)), Standing::Healthy { until: s(70) });
        not_yet(&mut w, 0, 40);
        assert_eq!(w.standing(s(41)), Standing::Unhealthy);
    }

    #[test]
    fn a_check_that_never_passed_is_not_healthy_by_allowance() {
        let mut w = window(vec![rule("a", true, 5)]);
        not_yet(&mut w, 0, 10);
        assert_eq!(w.standing(s(11)), Standing::Unhealthy);
    }

    #[test]
    fn a_wanted_check_neither_begins_nor_breaks_nor_fails_anything() {
        let mut w = window(vec![rule("a", true, 0), rule("wanted", false, 0)]);
        pass(&mut w, 0, 10);
        w.record(1, s(11), s(11), Finding::Failed("gone".into()));
        assert_eq!(w.standing(s(12)), Standing::Healthy { until: s(70) });
        pass(&mut w, 0, 70);
        assert_eq!(w.standing(s(71)), Standing::Passed);
    }

    #[test]
    fn a_required_check_that_failed_for_good_ends_the_wait_at_once() {
        let mut w = window(vec![rule("app", true, 0)]);
        w.record(0, s(5), s(6), Finding::Failed("app.service failed".into()));
        let failure = failure(&mut w, 6);
        assert_eq!(failure.reason, "check 'app': app.service failed");
        assert_eq!(failure.checks, [("app".to_owned(), "app.service failed".to_owned())]);
    }

    #[test]
    fn failures_for_good_are_counted_against_the_allowance_as_well() {
        let mut w = window(vec![rule("app", true, 1)]);
        w.record(0, s(5), s(6), Finding::Failed("x".into()));
        assert_eq!(w.standing(s(7)), Standing::Unhealthy);
        w.record(0, s(8), s(9), Finding::Failed("x".into()));
        failure(&mut w, 9);
    }

    #[test]
    fn a_failure_is_final() {
        let mut w = window(vec![rule("a", true, 0)]);
        w.record(0, s(5), s(6), Finding::Failed("x".into()));
        pass(&mut w, 0, 7);
        failure(&mut w, 7);
    }

    #[test]
    fn the_wait_ends_when_the_window_can_no_longer_end_before_the_deadline() {
        let mut w = window(vec![rule("uplink", true, 0)]);
        not_yet(&mut w, 0, 230);
        assert_eq!(w.standing(s(240)), Standing::Unhealthy);
        assert_eq!(
            failure(&mut w, 241).reason,
            "check 'uplink': not up; the test window of 1min can no longer end before the deadline of 5min"
        );
    }

    #[test]
    fn the_deadline_cannot_be_postponed_by_a_last_round_that_hangs() {
        let mut w = window(vec![rule("a", true, 0)]);
        pass(&mut w, 0, 239);
        assert_eq!(w.standing(s(299)), Standing::LastRound { since: s(299) });
        assert_eq!(
            failure(&mut w, 300).reason,
            "the deadline of 5min has passed: the checks passed too late"
        );
    }

    #[test]
    fn a_window_that_was_broken_too_late_names_what_broke_it() {
        let mut w = window(vec![rule("link", true, 0)]);
        pass(&mut w, 0, 200);
        not_yet(&mut w, 0, 250);
        pass(&mut w, 0, 251);
        assert!(
            failure(&mut w, 252).reason.starts_with("the test window was broken by check 'link': not up; "),
        );
    }

    #[test]
    fn an_answer_may_come_while_the_window_runs_or_after_it() {
        let answer = Rule { is_answer: true, ..rule("operator", true, 0) };
        let mut w = window(vec![rule("a", true, 0), answer]);
        pass(&mut w, 0, 10);
        not_yet(&mut w, 1, 11);
        assert_eq!(w.standing(s(12)), Standing::Healthy { until: s(70) });
        pass(&mut w, 0, 70);
        not_yet(&mut w, 1, 71);
        assert_eq!(w.standing(s(280)), Standing::LastRound { since: s(70) });
        pass(&mut w, 1, 290);
        assert_eq!(w.standing(s(290)), Standing::Passed);
    }

    #[test]
    fn an_answer_that_never_comes_fails_at_the_deadline() {
        let answer = Rule { is_answer: true, ..rule("operator", true, 0) };
        let mut w = window(vec![rule("a", true, 0), answer]);
        pass(&mut w, 0, 10);
        pass(&mut w, 0, 70);
        not_yet(&mut w, 1, 71);
        assert_eq!(failure(&mut w, 300).reason, "the deadline of 5min has passed: check 'operator': not up");
    }

    #[test]
    fn waiting_ends_at_the_end_of_the_window_or_when_hope_is_gone() {
        let mut w = window(vec![rule("a", true, 0)]);
        assert_eq!(w.next_instant(s(0)), s(240));
        pass(&mut w, 0, 10);
        assert_eq!(w.next_instant(s(10)), s(70));
        assert_eq!(w.next_instant(s(70)), s(300));
    }
}

//! The assessment of a system: when it has passed, and when it has failed. A pure state machine: it takes
//! the results of the checks and the time, and gives its state.
//!
//! All instants are durations since the start of the kernel, by [`crate::health::MonotonicClock`].

use std::time::Duration;

use crate::health::ProbeResult;
use abide_core::config::duration::format;

/// What the assessment must know about a check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckRule {
    /// For messages and records.
    pub name: String,
    /// Whether the assessment depends on it.
    pub required: bool,
    /// How many failed runs in a row are tolerated.
    pub failures_allowed: u32,
    /// Whether it waits for a confirmation. The test window begins without it; it must pass before the
    /// assessment does.
    pub is_confirmation: bool,
}

/// The state of an assessment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AssessmentState {
    /// Not all required checks have passed.
    Unhealthy,
    /// All required checks have passed, and must stay healthy until the end of the test window.
    Healthy {
        /// The end of the test window.
        until: Duration,
    },
    /// The test window is over. Every required check that was not started since `since` runs once more.
    LastRound {
        /// The end of the test window.
        since: Duration,
    },
    /// The system has passed.
    Passed,
    /// The system has failed; this state is final.
    Failed(FailureCause),
}

/// Why a system failed its assessment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailureCause {
    /// One sentence for people.
    pub reason: String,
    /// The checks that failed, with the last reason of each.
    pub checks: Vec<(String, String)>,
}

/// The runs of a check so far.
#[derive(Debug)]
struct CheckHistory {
    rule: CheckRule,
    has_passed: bool,
    /// Failed runs in a row.
    streak: u32,
    /// When its last finished run was started.
    last_start: Option<Duration>,
    last: Option<ProbeResult>,
}

/// An assessment: a test window that must end before a deadline.
#[derive(Debug)]
pub struct Assessment {
    length: Duration,
    deadline: Duration,
    checks: Vec<CheckHistory>,
    healthy_since: Option<Duration>,
    /// What broke the test window last, for the reason of a missed deadline.
    broken_by: Option<String>,
    failed: Option<FailureCause>,
}

impl CheckHistory {
    fn is_healthy(&self) -> bool {
        self.has_passed && self.streak <= self.rule.failures_allowed
    }

    fn problem(&self) -> String {
        match &self.last {
            Some(ProbeResult::NotYet(reason) | ProbeResult::Failed(reason)) => reason.clone(),
            Some(ProbeResult::Pass | ProbeResult::Skipped(_)) => "passed last".into(),
            None => "no result".into(),
        }
    }

    fn sentence(&self) -> String {
        format!("check '{}': {}", self.rule.name, self.problem())
    }
}

impl Assessment {
    /// An assessment with a test window of `length` that must end before `deadline`.
    #[must_use]
    pub fn new(length: Duration, deadline: Duration, rules: Vec<CheckRule>) -> Self {
        let checks = rules
            .into_iter()
            .map(|rule| CheckHistory { rule, has_passed: false, streak: 0, last_start: None, last: None })
            .collect();
        Self { length, deadline, checks, healthy_since: None, broken_by: None, failed: None }
    }

    /// Records the result of a run of check `index` that was started at `started` and ended at `now`.
    pub fn record(&mut self, index: usize, started: Duration, now: Duration, result: ProbeResult) {
        let Some(check) = self.checks.get_mut(index) else { return };
        match &result {
            ProbeResult::Pass | ProbeResult::Skipped(_) => {
                check.has_passed = true;
                check.streak = 0;
            }
            ProbeResult::NotYet(_) | ProbeResult::Failed(_) => check.streak = check.streak.saturating_add(1),
        }
        let for_good = matches!(result, ProbeResult::Failed(_)) && check.streak > check.rule.failures_allowed;
        check.last_start = Some(started);
        check.last = Some(result);
        if !check.rule.required {
            return;
        }
        if for_good && self.failed.is_none() {
            self.failed = Some(FailureCause {
                reason: check.sentence(),
                checks: vec![(check.rule.name.clone(), check.problem())],
            });
        }
        if check.rule.is_confirmation {
            return;
        }
        let broken = (!check.is_healthy()).then(|| check.sentence());
        match (broken, self.healthy_since) {
            (Some(sentence), Some(_)) => {
                self.healthy_since = None;
                self.broken_by = Some(sentence);
            }
            (None, None) if self.watched().all(CheckHistory::is_healthy) => self.healthy_since = Some(now),
            _ => {}
        }
    }

    /// The state at `now`. A failure is final.
    pub fn state(&mut self, now: Duration) -> AssessmentState {
        if self.failed.is_none() {
            self.failed = self.out_of_time(now);
        }
        if let Some(failure) = &self.failed {
            return AssessmentState::Failed(failure.clone());
        }
        let Some(since) = self.healthy_since else { return AssessmentState::Unhealthy };
        let end = since.saturating_add(self.length);
        if now < end {
            AssessmentState::Healthy { until: end }
        } else if self.required().all(|c| c.is_healthy() && c.last_start.is_some_and(|start| start >= end)) {
            AssessmentState::Passed
        } else {
            AssessmentState::LastRound { since: end }
        }
    }

    /// When [`Assessment::state`] changes if no check gives a new result.
    #[must_use]
    pub fn next_instant(&self, now: Duration) -> Duration {
        let end = match self.healthy_since {
            Some(since) => since.saturating_add(self.length),
            None => self.deadline.saturating_sub(self.length),
        };
        if end > now { end.min(self.deadline) } else { self.deadline }
    }

    fn required(&self) -> impl Iterator<Item = &CheckHistory> {
        self.checks.iter().filter(|check| check.rule.required)
    }

    /// The checks that the test window depends on.
    fn watched(&self) -> impl Iterator<Item = &CheckHistory> {
        self.required().filter(|check| !check.rule.is_confirmation)
    }

    /// A failure if the deadline has passed, or if the test window can no longer end before it.
    fn out_of_time(&self, now: Duration) -> Option<FailureCause> {
        let start = self.healthy_since.unwrap_or(now);
        let too_late = start.saturating_add(self.length) > self.deadline;
        if now < self.deadline && !too_late {
            return None;
        }
        let unhealthy: Vec<&CheckHistory> = self.required().filter(|check| !check.is_healthy()).collect();
        let cause = match unhealthy.first() {
            Some(check) => check.sentence(),
            None => match &self.broken_by {
                Some(sentence) => format!("the test window was interrupted by {sentence}"),
                None => "the checks passed too late".into(),
            },
        };
        let limit = format(self.deadline);
        let reason = if now < self.deadline {
            let length = format(self.length);
            format!("{cause}; the test window of {length} can no longer end before the deadline of {limit}")
        } else {
            format!("the deadline of {limit} has passed: {cause}")
        };
        let checks = unhealthy.iter().map(|check| (check.rule.name.clone(), check.problem())).collect();
        Some(FailureCause { reason, checks })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::panic)]
    use super::*;

    fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn rule(name: &str, required: bool, failures_allowed: u32) -> CheckRule {
        CheckRule { name: name.into(), required, failures_allowed, is_confirmation: false }
    }

    /// An assessment with a test window of 60 s before a deadline of 300 s.
    fn assessment(rules: Vec<CheckRule>) -> Assessment {
        Assessment::new(s(60), s(300), rules)
    }

    fn pass(assessment: &mut Assessment, index: usize, at: u64) {
        assessment.record(index, s(at), s(at), ProbeResult::Pass);
    }

    fn not_yet(assessment: &mut Assessment, index: usize, at: u64) {
        assessment.record(index, s(at), s(at), ProbeResult::NotYet("not up".into()));
    }

    fn failure(assessment: &mut Assessment, at: u64) -> FailureCause {
        match assessment.state(s(at)) {
            AssessmentState::Failed(failure) => failure,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_window_begins_when_the_last_required_check_has_passed() {
        let mut w = assessment(vec![rule("a", true, 0), rule("b", true, 0)]);
        pass(&mut w, 0, 10);
        assert_eq!(w.state(s(11)), AssessmentState::Unhealthy);
        pass(&mut w, 1, 20);
        assert_eq!(w.state(s(21)), AssessmentState::Healthy { until: s(80) });
    }

    #[test]
    fn passing_needs_a_run_of_every_required_check_from_after_the_window() {
        let mut w = assessment(vec![rule("a", true, 0), rule("b", true, 0)]);
        pass(&mut w, 0, 10);
        pass(&mut w, 1, 10);
        assert_eq!(w.state(s(70)), AssessmentState::LastRound { since: s(70) });
        pass(&mut w, 0, 70);
        assert_eq!(w.state(s(71)), AssessmentState::LastRound { since: s(70) });
        w.record(1, s(69), s(72), ProbeResult::Pass);
        assert_eq!(w.state(s(72)), AssessmentState::LastRound { since: s(70) });
        pass(&mut w, 1, 73);
        assert_eq!(w.state(s(74)), AssessmentState::Passed);
    }

    #[test]
    fn a_break_in_the_last_round_restarts_the_window() {
        let mut w = assessment(vec![rule("a", true, 0)]);
        pass(&mut w, 0, 10);
        not_yet(&mut w, 0, 70);
        assert_eq!(w.state(s(71)), AssessmentState::Unhealthy);
        pass(&mut w, 0, 80);
        assert_eq!(w.state(s(81)), AssessmentState::Healthy { until: s(140) });
    }

    #[test]
    fn a_required_check_that_breaks_restarts_the_window() {
        let mut w = assessment(vec![rule("a", true, 0)]);
        pass(&mut w, 0, 10);
        not_yet(&mut w, 0, 65);
        pass(&mut w, 0, 66);
        assert_eq!(w.state(s(71)), AssessmentState::Healthy { until: s(126) });
    }

    #[test]
    fn failed_runs_that_are_allowed_do_not_break_the_window() {
        let mut w = assessment(vec![rule("a", true, 2)]);
        pass(&mut w, 0, 10);
        not_yet(&mut w, 0, 20);
        not_yet(&mut w, 0, 30);
        assert_eq!(w.state(s(31)), AssessmentState::Healthy { until: s(70) });
        not_yet(&mut w, 0, 40);
        assert_eq!(w.state(s(41)), AssessmentState::Unhealthy);
    }

    #[test]
    fn a_check_that_never_passed_is_not_healthy_by_allowance() {
        let mut w = assessment(vec![rule("a", true, 5)]);
        not_yet(&mut w, 0, 10);
        assert_eq!(w.state(s(11)), AssessmentState::Unhealthy);
    }

    #[test]
    fn a_wanted_check_does_not_affect_the_assessment() {
        let mut w = assessment(vec![rule("a", true, 0), rule("wanted", false, 0)]);
        pass(&mut w, 0, 10);
        w.record(1, s(11), s(11), ProbeResult::Failed("gone".into()));
        assert_eq!(w.state(s(12)), AssessmentState::Healthy { until: s(70) });
        pass(&mut w, 0, 70);
        assert_eq!(w.state(s(71)), AssessmentState::Passed);
    }

    #[test]
    fn a_required_check_that_failed_for_good_ends_the_wait_at_once() {
        let mut w = assessment(vec![rule("app", true, 0)]);
        w.record(0, s(5), s(6), ProbeResult::Failed("app.service failed".into()));
        let failure = failure(&mut w, 6);
        assert_eq!(failure.reason, "check 'app': app.service failed");
        assert_eq!(failure.checks, [("app".to_owned(), "app.service failed".to_owned())]);
    }

    #[test]
    fn failures_for_good_are_counted_against_the_allowance_as_well() {
        let mut w = assessment(vec![rule("app", true, 1)]);
        w.record(0, s(5), s(6), ProbeResult::Failed("x".into()));
        assert_eq!(w.state(s(7)), AssessmentState::Unhealthy);
        w.record(0, s(8), s(9), ProbeResult::Failed("x".into()));
        failure(&mut w, 9);
    }

    #[test]
    fn a_failure_is_final() {
        let mut w = assessment(vec![rule("a", true, 0)]);
        w.record(0, s(5), s(6), ProbeResult::Failed("x".into()));
        pass(&mut w, 0, 7);
        failure(&mut w, 7);
    }

    #[test]
    fn the_wait_ends_when_the_window_can_no_longer_end_before_the_deadline() {
        let mut w = assessment(vec![rule("uplink", true, 0)]);
        not_yet(&mut w, 0, 230);
        assert_eq!(w.state(s(240)), AssessmentState::Unhealthy);
        assert_eq!(
            failure(&mut w, 241).reason,
            "check 'uplink': not up; the test window of 1min can no longer end before the deadline of 5min"
        );
    }

    #[test]
    fn the_deadline_cannot_be_postponed_by_a_last_round_that_hangs() {
        let mut w = assessment(vec![rule("a", true, 0)]);
        pass(&mut w, 0, 239);
        assert_eq!(w.state(s(299)), AssessmentState::LastRound { since: s(299) });
        assert_eq!(
            failure(&mut w, 300).reason,
            "the deadline of 5min has passed: the checks passed too late"
        );
    }

    #[test]
    fn a_window_that_was_broken_too_late_names_what_broke_it() {
        let mut w = assessment(vec![rule("link", true, 0)]);
        pass(&mut w, 0, 200);
        not_yet(&mut w, 0, 250);
        pass(&mut w, 0, 251);
        assert!(
            failure(&mut w, 252)
                .reason
                .starts_with("the test window was interrupted by check 'link': not up; "),
        );
    }

    #[test]
    fn a_confirmation_may_come_while_the_window_runs_or_after_it() {
        let confirmation = CheckRule { is_confirmation: true, ..rule("operator", true, 0) };
        let mut w = assessment(vec![rule("a", true, 0), confirmation]);
        pass(&mut w, 0, 10);
        not_yet(&mut w, 1, 11);
        assert_eq!(w.state(s(12)), AssessmentState::Healthy { until: s(70) });
        pass(&mut w, 0, 70);
        not_yet(&mut w, 1, 71);
        assert_eq!(w.state(s(280)), AssessmentState::LastRound { since: s(70) });
        pass(&mut w, 1, 290);
        assert_eq!(w.state(s(290)), AssessmentState::Passed);
    }

    #[test]
    fn a_confirmation_that_never_comes_fails_at_the_deadline() {
        let confirmation = CheckRule { is_confirmation: true, ..rule("operator", true, 0) };
        let mut w = assessment(vec![rule("a", true, 0), confirmation]);
        pass(&mut w, 0, 10);
        pass(&mut w, 0, 70);
        not_yet(&mut w, 1, 71);
        assert_eq!(failure(&mut w, 300).reason, "the deadline of 5min has passed: check 'operator': not up");
    }

    #[test]
    fn waiting_ends_with_the_window_or_when_the_window_would_end_too_late() {
        let mut w = assessment(vec![rule("a", true, 0)]);
        assert_eq!(w.next_instant(s(0)), s(240));
        pass(&mut w, 0, 10);
        assert_eq!(w.next_instant(s(10)), s(70));
        assert_eq!(w.next_instant(s(70)), s(300));
    }
}

//! Runs checks in parallel, each in its own thread, and never waits longer than necessary.

use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use crate::health::assessment::{Assessment, AssessmentState, FailureCause};
use crate::health::check::Check;
use crate::health::check_result::{CheckResult, CheckStatus};
use crate::health::monotonic_clock::MonotonicClock;
use crate::health::probe::{Probe, ProbeResult};
use crate::health::schedule::Schedule;
use abide_core::config::duration::format;
use abide_core::text;

/// How often the state is shown if there is no new result.
const HEARTBEAT: Duration = Duration::from_secs(10);

/// The stack of a thread for a check: name resolution in the C library takes most of it.
const STACK: usize = 256 << 10;

/// How an assessment ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AssessmentEnd {
    /// The checks have passed until the end of the test window.
    Passed,
    /// They have not, or no longer can.
    Failed(FailureCause),
    /// A [`StopHandle`] was used.
    Stopped,
}

/// Ends an assessment from another thread.
#[derive(Debug, Clone)]
pub struct StopHandle(Sender<Message>);

#[derive(Debug)]
enum Message {
    Finished(FinishedRun),
    Stop,
}

/// A run of a check that has ended or was abandoned.
#[derive(Debug)]
struct FinishedRun {
    index: usize,
    started: Duration,
    result: ProbeResult,
    output: String,
}

/// A check with its last result.
#[derive(Debug)]
struct RunnerCheck {
    timeout: Duration,
    probe: Arc<Mutex<Box<dyn Probe>>>,
    result: CheckResult,
}

/// The checks and the threads that run them.
#[derive(Debug)]
pub struct Runner {
    checks: Vec<RunnerCheck>,
    schedule: Schedule,
    clock: MonotonicClock,
    sender: Sender<Message>,
    receiver: Receiver<Message>,
}

impl StopHandle {
    /// Makes [`Runner::assess`] return [`AssessmentEnd::Stopped`].
    pub fn stop(&self) {
        // If the receiver is gone, the assessment has ended already.
        self.0.send(Message::Stop).ok();
    }
}

impl Runner {
    /// Ready to run `checks`; each first after its `start_delay`.
    #[must_use]
    pub fn new(checks: Vec<Check>, clock: MonotonicClock) -> Self {
        let (sender, receiver) = mpsc::channel();
        let schedule = Schedule::new(&checks, clock.now());
        let checks = checks.into_iter().map(RunnerCheck::new).collect();
        Self { checks, schedule, clock, sender, receiver }
    }

    /// A handle that ends [`Runner::assess`].
    #[must_use]
    pub fn stop_handle(&self) -> StopHandle {
        StopHandle(self.sender.clone())
    }

    /// The last result of each check.
    #[must_use]
    pub fn results(&self) -> Vec<CheckResult> {
        self.checks.iter().map(|check| check.result.clone()).collect()
    }

    /// Runs the checks until `assessment` has passed or failed. `observe` is called after each new result,
    /// and at least every ten seconds.
    pub fn assess(
        &mut self,
        assessment: &mut Assessment,
        mut observe: impl FnMut(&AssessmentState, &[CheckResult]),
    ) -> AssessmentEnd {
        loop {
            let now = self.clock.now();
            let state = assessment.state(now);
            observe(&state, &self.results());
            match state {
                AssessmentState::Passed => return AssessmentEnd::Passed,
                AssessmentState::Failed(cause) => return AssessmentEnd::Failed(cause),
                AssessmentState::LastRound { since } => self.schedule.make_last_round_due(since, now),
                AssessmentState::Unhealthy | AssessmentState::Healthy { .. } => {}
            }
            let until = assessment.next_instant(now).min(now.saturating_add(HEARTBEAT));
            loop {
                let Some(runs) = self.next_runs(until) else { return AssessmentEnd::Stopped };
                let is_new = !runs.is_empty();
                for run in runs {
                    assessment.record(run.index, run.started, self.clock.now(), run.result);
                }
                if is_new || self.clock.now() >= until {
                    break;
                }
            }
        }
    }

    /// Runs each check once, now, and returns the results. `observe` is called at the start and after each result.
    pub fn once(&mut self, observe: impl FnMut(&[CheckResult])) -> Vec<CheckResult> {
        self.once_within(Duration::MAX, observe)
    }

    /// As [`Runner::once`], for at most `limit`: a check that has not ended then is pending.
    pub fn once_within(
        &mut self,
        limit: Duration,
        mut observe: impl FnMut(&[CheckResult]),
    ) -> Vec<CheckResult> {
        let end = self.clock.now().saturating_add(limit);
        self.schedule.make_all_due(self.clock.now());
        observe(&self.results());
        while self.checks.iter().any(|check| check.result.result == CheckStatus::Pending) {
            if self.next_runs(end).is_none() || self.clock.now() >= end {
                break;
            }
            observe(&self.results());
        }
        self.results()
    }

    /// Starts what is due and waits, at most until `limit`, for the end of a run. Returns the runs that
    /// have ended or were abandoned; `None` after [`StopHandle::stop`].
    fn next_runs(&mut self, limit: Duration) -> Option<Vec<FinishedRun>> {
        self.start_due();
        let until = self.schedule.next_instant().min(limit);
        match self.receiver.recv_timeout(until.saturating_sub(self.clock.now())) {
            Ok(Message::Stop) => None,
            Ok(Message::Finished(run)) => Some(self.finish(run).into_iter().collect()),
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => Some(self.abandon_overdue()),
        }
    }

    fn start_due(&mut self) {
        let now = self.clock.now();
        for index in self.schedule.start_due(now) {
            if let Some(check) = self.checks.get(index) {
                check.start(index, now, &self.sender);
            }
        }
    }

    /// Records a run that has ended; `None` if it had been abandoned.
    fn finish(&mut self, run: FinishedRun) -> Option<FinishedRun> {
        let now = self.clock.now();
        if !self.schedule.end(run.index, run.started, now) {
            return None;
        }
        let check = self.checks.get_mut(run.index)?;
        check.record(now.saturating_sub(run.started), &run.result, &run.output);
        Some(run)
    }

    fn abandon_overdue(&mut self) -> Vec<FinishedRun> {
        let now = self.clock.now();
        let mut runs = vec![];
        for (index, started) in self.schedule.abandon_overdue(now) {
            let Some(check) = self.checks.get_mut(index) else { continue };
            let result = ProbeResult::NotYet(format!("no answer within {}", format(check.timeout)));
            check.record(now.saturating_sub(started), &result, "");
            runs.push(FinishedRun { index, started, result, output: String::new() });
        }
        runs
    }
}

impl RunnerCheck {
    fn new(check: Check) -> Self {
        let result = CheckResult {
            name: check.config.name,
            required: check.required,
            result: CheckStatus::Pending,
            reason: String::new(),
            output: String::new(),
            seconds: 0.0,
        };
        Self { timeout: check.config.timeout, probe: Arc::new(Mutex::new(check.probe)), result }
    }

    /// Runs the check in a thread of its own, which sends its result to `sender`.
    fn start(&self, index: usize, now: Duration, sender: &Sender<Message>) {
        let (probe, limit) = (Arc::clone(&self.probe), self.timeout);
        let finished =
            move |result, output| Message::Finished(FinishedRun { index, started: now, result, output });
        let to_runner = sender.clone();
        let run = move || {
            let mut probe = probe.lock().unwrap_or_else(PoisonError::into_inner);
            let result = probe.run(limit).printable();
            // The receiver is gone if the assessment has ended.
            to_runner.send(finished(result, text::lines(probe.output()))).ok();
        };
        if let Err(e) = thread::Builder::new().stack_size(STACK).spawn(run) {
            let result = ProbeResult::NotYet(format!("cannot start a thread: {e}"));
            sender.send(finished(result, String::new())).ok();
        }
    }

    fn record(&mut self, took: Duration, result: &ProbeResult, output: &str) {
        let (status, reason) = match result {
            ProbeResult::Pass => (CheckStatus::Pass, String::new()),
            ProbeResult::Skipped(reason) => (CheckStatus::Skipped, reason.clone()),
            ProbeResult::NotYet(reason) | ProbeResult::Failed(reason) => (CheckStatus::Fail, reason.clone()),
        };
        let seconds = (took.as_secs_f64() * 1000.0).round() / 1000.0;
        let output = if status.is_fine() { String::new() } else { output.to_owned() };
        self.result = CheckResult { result: status, reason, output, seconds, ..self.result.clone() };
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use std::path::Path;

    use super::*;
    use crate::config::Config;
    use crate::health::check::prepare;
    use abide_core::root::Root;
    use abide_core::state::Baseline;

    #[test]
    fn one_run_ends_at_its_limit_whatever_its_checks_do() {
        let mut runner =
            Runner::new(checks(&check("slow", "", "sleep 15")), MonotonicClock::new(&Root::live()));
        let started = std::time::Instant::now();
        let results = runner.once_within(Duration::from_millis(100), |_| {});
        assert!(results.iter().all(|check| check.result == CheckStatus::Pending));
        assert!(started.elapsed() < Duration::from_secs(10));
    }

    const LONG: Duration = Duration::from_secs(30);

    fn checks(text: &str) -> Vec<Check> {
        let config = Config::parse("f", text).unwrap();
        prepare(&config, &Baseline::default(), &Root::live())
    }

    /// A check that runs a line of shell, again and again without a pause worth mentioning.
    fn check(name: &str, keys: &str, line: &str) -> String {
        format!(
            "[[check]]\nname = '{name}'\nkind = 'command'\ninterval = '100ms'\ntimeout = '20s'\n\
             {keys}\ncommand = '''{line}'''\n"
        )
    }

    fn assess(text: &str, length: Duration, deadline: Duration) -> (AssessmentEnd, Vec<CheckResult>) {
        let checks = checks(text);
        let clock = MonotonicClock::new(&Root::live());
        let mut assessment =
            Assessment::new(length, clock.now() + deadline, checks.iter().map(Check::rule).collect());
        let mut runner = Runner::new(checks, clock);
        let end = runner.assess(&mut assessment, |_, _| {});
        (end, runner.results())
    }

    /// Shell that counts its runs in `file` and leaves the count in `$n`.
    fn count(file: &Path) -> String {
        let file = file.display();
        format!("echo x >> \"{file}\"; n=$(wc -l < \"{file}\");")
    }

    #[test]
    fn a_system_whose_checks_pass_has_passed_after_the_window() {
        let dir = tempfile::tempdir().unwrap();
        let line = count(&dir.path().join("runs"));
        let started = std::time::Instant::now();
        let (end, _) = assess(&check("a", "", &line), Duration::from_millis(350), LONG);
        assert_eq!(end, AssessmentEnd::Passed);
        assert!(started.elapsed() >= Duration::from_millis(350));
    }

    #[test]
    fn checks_run_side_by_side() {
        let dir = tempfile::tempdir().unwrap();
        let meet = |mine: &str, other: &str| {
            let path = |name: &str| dir.path().join(name).display().to_string();
            format!("touch \"{}\"; until test -e \"{}\"; do sleep 0.02; done", path(mine), path(other))
        };
        let text = check("a", "", &meet("a", "b")) + &check("b", "", &meet("b", "a"));
        let results = Runner::new(checks(&text), MonotonicClock::new(&Root::live())).once(|_| {});
        assert!(results.iter().all(|r| r.result == CheckStatus::Pass), "{results:?}");
    }

    #[test]
    fn more_checks_than_may_run_at_once_all_get_their_turn() {
        let text: String = (0..20).map(|n| check(&format!("c{n}"), "", "true")).collect();
        let results = Runner::new(checks(&text), MonotonicClock::new(&Root::live())).once(|_| {});
        assert_eq!(results.iter().filter(|r| r.result == CheckStatus::Pass).count(), 20);
    }

    #[test]
    fn a_check_that_recovers_begins_the_window_anew() {
        let dir = tempfile::tempdir().unwrap();
        let runs = dir.path().join("runs");
        let line = format!("{} test $n != 2", count(&runs));
        let (end, _) = assess(&check("a", "", &line), Duration::from_millis(350), LONG);
        assert_eq!(end, AssessmentEnd::Passed);
        assert!(std::fs::read_to_string(runs).unwrap().lines().count() >= 4);
    }

    #[test]
    fn a_command_that_hangs_ends_the_assessment_at_its_own_timeout() {
        let text = check("hang", "", "sleep 600").replace("20s", "200ms");
        let started = std::time::Instant::now();
        let (end, _) = assess(&text, Duration::from_millis(100), LONG);
        let AssessmentEnd::Failed(failure) = end else { panic!("{end:?}") };
        assert_eq!(failure.reason, "check 'hang': /bin/sh did not end within 200ms");
        assert!(started.elapsed() < Duration::from_secs(15));
    }

    #[test]
    fn a_check_that_never_passes_fails_the_system_at_the_deadline() {
        let (end, _) = assess(
            &check("a", "", "echo not up; exit 1"),
            Duration::from_millis(100),
            Duration::from_secs(1),
        );
        let AssessmentEnd::Failed(failure) = end else { panic!("{end:?}") };
        assert_eq!(failure.checks, [("a".into(), "/bin/sh exited with status 1: not up".into())]);
    }

    #[test]
    fn a_wanted_check_that_fails_is_reported_and_decides_nothing() {
        let text = check("a", "", "true") + &check("b", "required = false", "exit 1");
        let (end, results) = assess(&text, Duration::from_millis(100), LONG);
        assert_eq!(end, AssessmentEnd::Passed);
        assert!(results.iter().any(|r| r.name == "b" && !r.required));
    }

    #[test]
    fn an_assessment_can_be_stopped() {
        let checks = checks(&check("a", "", "sleep 600"));
        let clock = MonotonicClock::new(&Root::live());
        let mut assessment =
            Assessment::new(LONG, clock.now() + LONG * 2, checks.iter().map(Check::rule).collect());
        let mut runner = Runner::new(checks, clock);
        let handle = runner.stop_handle();
        let end = runner.assess(&mut assessment, move |_, _| handle.stop());
        assert_eq!(end, AssessmentEnd::Stopped);
    }
}

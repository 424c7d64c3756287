//! Runs checks side by side, each at its own pace, and never waits longer than it has to.

use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use crate::config::{CheckConfig, Config};
use crate::health::MonotonicClock;
use crate::health::assessment::{Assessment, AssessmentState, CheckRule, FailureCause};
use crate::health::{CheckResult, CheckStatus, Probe, ProbeResult, scripts};
use abide_core::config::duration::format;
use abide_core::root::Root;
use abide_core::state::Baseline;

/// How many checks run at the same time; more wait their turn.
const MOST_AT_ONCE: usize = 8;

/// Every kind keeps its own limit; one that does not (a name server that never answers cannot be
/// interrupted) is given up this much later.
const GRACE: Duration = Duration::from_millis(500);

/// How often it is said how things stand, if nothing is new.
const HEARTBEAT: Duration = Duration::from_secs(10);

/// A thread for a check: name resolution in the C library takes most of it.
const STACK: usize = 256 << 10;

/// A check with its timing.
#[derive(Debug)]
pub struct Check {
    config: CheckConfig,
    /// [`CheckConfig::required`] with `only_if_passed_before` taken into account.
    required: bool,
    probe: Probe,
}

/// How an assessment ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AssessmentEnd {
    /// The test window has held.
    Passed,
    /// It can no longer hold.
    Failed(FailureCause),
    /// Someone asked to stop.
    Stopped,
}

/// Ends an assessment from another thread.
#[derive(Debug, Clone)]
pub struct StopHandle(Sender<Message>);

#[derive(Debug)]
enum Message {
    Done(Run),
    Stop,
}

/// A finished run.
#[derive(Debug)]
struct Run {
    index: usize,
    started: Duration,
    result: ProbeResult,
    output: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Activity {
    /// Waits for its next run.
    Due(Duration),
    /// Runs since then.
    Running(Duration),
    /// Still runs, but has been given up; the next run starts when it ends.
    Abandoned,
}

#[derive(Debug)]
struct Slot {
    config: CheckConfig,
    required: bool,
    probe: Arc<Mutex<Probe>>,
    activity: Activity,
    last_start: Option<Duration>,
    result: CheckResult,
}

/// The checks and the threads that run them.
#[derive(Debug)]
pub struct Runner {
    slots: Vec<Slot>,
    clock: MonotonicClock,
    sender: Sender<Message>,
    receiver: Receiver<Message>,
}

/// The checks of `config` and the scripts that have a say. Where none of them decides by what it sees, the default check is added: a
/// commit needs evidence.
#[must_use]
pub fn prepare(config: &Config, baseline: &Baseline, root: &Root) -> Vec<Check> {
    let mut checks: Vec<Check> = config
        .checks
        .iter()
        .map(|check| Check {
            required: check.required
                && (!check.only_if_passed_before || baseline.passed_checks.contains(&check.name)),
            probe: Probe::new(check, baseline, root),
            config: check.clone(),
        })
        .collect();
    for script in scripts::checks(root, &config.scripts) {
        let is_taken = |check: &Check| check.config.name == script.name;
        if !checks.iter().any(is_taken) {
            let (required, probe) = (script.required, Probe::new(&script, baseline, root));
            checks.push(Check { config: script, required, probe });
        }
    }
    if !checks.iter().any(|check| check.required && !check.is_confirmation()) {
        let config = CheckConfig::default();
        checks.push(Check { required: true, probe: Probe::new(&config, baseline, root), config });
    }
    checks
}

impl Check {
    fn is_confirmation(&self) -> bool {
        matches!(self.probe, Probe::Confirm(_))
    }
}

/// What a [`Assessment`] must know of `checks`, in their order.
#[must_use]
pub fn rules(checks: &[Check]) -> Vec<CheckRule> {
    let rule = |check: &Check| CheckRule {
        name: check.config.name.clone(),
        required: check.required,
        failures_allowed: check.config.failures_allowed,
        is_confirmation: check.is_confirmation(),
    };
    checks.iter().map(rule).collect()
}

impl StopHandle {
    /// Has [`Runner::assess`] return [`AssessmentEnd::Stopped`].
    pub fn stop(&self) {
        // The runner may be gone already; then there is nothing to stop.
        self.0.send(Message::Stop).ok();
    }
}

impl Runner {
    /// Ready to run `checks`; each first after its `start_delay`.
    #[must_use]
    pub fn new(checks: Vec<Check>, clock: MonotonicClock) -> Self {
        let (sender, receiver) = mpsc::channel();
        let now = clock.now();
        let slots = checks
            .into_iter()
            .map(|check| Slot {
                result: CheckResult {
                    name: check.config.name.clone(),
                    required: check.required,
                    result: CheckStatus::Pending,
                    reason: String::new(),
                    output: String::new(),
                    seconds: 0.0,
                },
                activity: Activity::Due(now + check.config.start_delay),
                probe: Arc::new(Mutex::new(check.probe)),
                last_start: None,
                required: check.required,
                config: check.config,
            })
            .collect();
        Self { slots, clock, sender, receiver }
    }

    /// A handle that ends [`Runner::assess`].
    #[must_use]
    pub fn stop_handle(&self) -> StopHandle {
        StopHandle(self.sender.clone())
    }

    /// The last result of each check.
    #[must_use]
    pub fn results(&self) -> Vec<CheckResult> {
        self.slots.iter().map(|slot| slot.result.clone()).collect()
    }

    /// Runs the checks until `window` has an answer. `observe` is told each time something is new,
    /// and from time to time that nothing is.
    pub fn assess(
        &mut self,
        window: &mut Assessment,
        mut observe: impl FnMut(&AssessmentState, &[CheckResult]),
    ) -> AssessmentEnd {
        loop {
            let now = self.clock.now();
            let standing = window.state(now);
            observe(&standing, &self.results());
            match standing {
                AssessmentState::Passed => return AssessmentEnd::Passed,
                AssessmentState::Failed(failure) => return AssessmentEnd::Failed(failure),
                AssessmentState::LastRound { since } => self.hurry(since, now),
                AssessmentState::Unhealthy | AssessmentState::Healthy { .. } => {}
            }
            let heartbeat = now.saturating_add(HEARTBEAT);
            let window_changes = window.next_instant(now).min(heartbeat);
            loop {
                let Some(runs) = self.next_runs(window_changes) else { return AssessmentEnd::Stopped };
                let is_new = !runs.is_empty();
                for run in runs {
                    window.record(run.index, run.started, self.clock.now(), run.result);
                }
                if is_new || self.clock.now() >= window_changes {
                    break;
                }
            }
        }
    }

    /// Runs every check once, now, and returns what they found.
    pub fn once(&mut self) -> Vec<CheckResult> {
        let now = self.clock.now();
        for slot in &mut self.slots {
            slot.activity = Activity::Due(now);
        }
        while self.slots.iter().any(|slot| slot.result.result == CheckStatus::Pending) {
            if self.next_runs(Duration::MAX).is_none() {
                break;
            }
        }
        self.results()
    }

    /// Starts what is due and waits, not beyond `limit`, until something has come out of it: the
    /// runs that are over, or none of them. `None` if someone asked to stop.
    fn next_runs(&mut self, limit: Duration) -> Option<Vec<Run>> {
        self.start_due();
        let until = self.next_instant().min(limit);
        match self.receiver.recv_timeout(until.saturating_sub(self.clock.now())) {
            Ok(Message::Stop) => None,
            Ok(Message::Done(run)) => Some(self.take_back(run).into_iter().collect()),
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => Some(self.give_up()),
        }
    }

    /// The last round: what decides and has not been started since then is due.
    fn hurry(&mut self, since: Duration, now: Duration) {
        for slot in self.slots.iter_mut().filter(|slot| slot.required) {
            if let Activity::Due(due) = &mut slot.activity
                && slot.last_start.is_none_or(|start| start < since)
            {
                *due = now;
            }
        }
    }

    fn is_full(&self) -> bool {
        self.slots.iter().filter(|slot| matches!(slot.activity, Activity::Running(_))).count() >= MOST_AT_ONCE
    }

    fn start_due(&mut self) {
        let now = self.clock.now();
        let mut due: Vec<(Duration, usize)> = self
            .slots
            .iter()
            .enumerate()
            .filter_map(|(index, slot)| match slot.activity {
                Activity::Due(due) if due <= now => Some((due, index)),
                _ => None,
            })
            .collect();
        // Who has waited longest goes first.
        due.sort_unstable();
        for (_, index) in due {
            if self.is_full() {
                return;
            }
            let is_turn_taken = self.is_turn_taken();
            if let Some(slot) = self.slots.get_mut(index).filter(|s| !(s.config.in_order && is_turn_taken)) {
                slot.start(index, now, &self.sender);
            }
        }
    }

    /// Whether one of those runs that take turns.
    fn is_turn_taken(&self) -> bool {
        self.slots.iter().any(|slot| slot.config.in_order && matches!(slot.activity, Activity::Running(_)))
    }

    /// When something is due or to be given up.
    fn next_instant(&self) -> Duration {
        let (is_full, is_turn_taken) = (self.is_full(), self.is_turn_taken());
        let instants = self.slots.iter().filter_map(|slot| match slot.activity {
            Activity::Due(due) => (!(is_full || slot.config.in_order && is_turn_taken)).then_some(due),
            Activity::Running(started) => Some(started + slot.config.timeout + GRACE),
            Activity::Abandoned => None,
        });
        instants.min().unwrap_or(Duration::MAX)
    }

    /// Takes in a finished run; `None` if it had been given up before.
    fn take_back(&mut self, run: Run) -> Option<Run> {
        let now = self.clock.now();
        let slot = self.slots.get_mut(run.index)?;
        let was_running = slot.activity == Activity::Running(run.started);
        slot.activity = Activity::Due((run.started + slot.config.interval).max(now));
        was_running.then(|| {
            slot.note(now.saturating_sub(run.started), &run.result, &run.output);
            run
        })
    }

    fn give_up(&mut self) -> Vec<Run> {
        let now = self.clock.now();
        let mut given_up = Vec::new();
        for (index, slot) in self.slots.iter_mut().enumerate() {
            let Activity::Running(started) = slot.activity else { continue };
            if now < started + slot.config.timeout + GRACE {
                continue;
            }
            slot.activity = Activity::Abandoned;
            let result = ProbeResult::NotYet(format!("no answer within {}", format(slot.config.timeout)));
            slot.note(now.saturating_sub(started), &result, "");
            given_up.push(Run { index, started, result, output: String::new() });
        }
        given_up
    }
}

impl Slot {
    /// Runs the check in a thread of its own, which reports to `sender`.
    fn start(&mut self, index: usize, now: Duration, sender: &Sender<Message>) {
        self.activity = Activity::Running(now);
        self.last_start = Some(now);
        let (probe, limit) = (Arc::clone(&self.probe), self.config.timeout);
        let done = move |result, output| Message::Done(Run { index, started: now, result, output });
        let to_runner = sender.clone();
        let run = move || {
            let mut probe = probe.lock().unwrap_or_else(PoisonError::into_inner);
            let result = probe.run(limit);
            // The runner may have its answer already, and be gone.
            to_runner.send(done(result, probe.output())).ok();
        };
        if let Err(e) = thread::Builder::new().stack_size(STACK).spawn(run) {
            let result = ProbeResult::NotYet(format!("cannot start a thread: {e}"));
            sender.send(done(result, String::new())).ok();
        }
    }

    fn note(&mut self, took: Duration, result: &ProbeResult, output: &str) {
        let (result, reason) = match result {
            ProbeResult::Pass => (CheckStatus::Pass, String::new()),
            ProbeResult::NotYet(reason) | ProbeResult::Failed(reason) => (CheckStatus::Fail, reason.clone()),
        };
        // Milliseconds are as exact as anybody wants it.
        let seconds = (took.as_secs_f64() * 1000.0).round() / 1000.0;
        let output = if result == CheckStatus::Pass { String::new() } else { output.to_owned() };
        self.result = CheckResult { result, reason, output, seconds, ..self.result.clone() };
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;
    use std::path::Path;

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
        let mut window = Assessment::new(length, clock.now() + deadline, rules(&checks));
        let mut runner = Runner::new(checks, clock);
        let end = runner.assess(&mut window, |_, _| {});
        (end, runner.results())
    }

    /// Shell that counts its runs in `file` and leaves the count in `$n`.
    fn count(file: &Path) -> String {
        let file = file.display();
        format!("echo x >> {file}; n=$(wc -l < {file});")
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
            format!("touch {}; until test -e {}; do sleep 0.02; done", path(mine), path(other))
        };
        let text = check("a", "", &meet("a", "b")) + &check("b", "", &meet("b", "a"));
        let results = Runner::new(checks(&text), MonotonicClock::new(&Root::live())).once();
        assert!(results.iter().all(|r| r.result == CheckStatus::Pass), "{results:?}");
    }

    #[test]
    fn more_checks_than_may_run_at_once_all_get_their_turn() {
        let text: String = (0..20).map(|n| check(&format!("c{n}"), "", "true")).collect();
        let results = Runner::new(checks(&text), MonotonicClock::new(&Root::live())).once();
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
    fn a_command_that_hangs_ends_the_assessment_at_its_timeout_and_not_at_the_deadline() {
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
        let mut window = Assessment::new(LONG, clock.now() + LONG * 2, rules(&checks));
        let mut runner = Runner::new(checks, clock);
        let handle = runner.stop_handle();
        let end = runner.assess(&mut window, move |_, _| handle.stop());
        assert_eq!(end, AssessmentEnd::Stopped);
    }

    #[test]
    fn a_check_that_did_not_pass_before_is_not_required_now() {
        let text = check("old", "only_if_passed_before = true", "true") + &check("new", "", "true");
        let config = Config::parse("f", &text).unwrap();
        let required = |baseline: &Baseline| -> Vec<bool> {
            prepare(&config, baseline, &Root::live()).iter().map(|c| c.required).collect()
        };
        assert_eq!(required(&Baseline::default()), [false, true]);
        let passed = Baseline { passed_checks: vec!["old".into()], failed_units: vec![] };
        assert_eq!(required(&passed), [true, true]);
    }

    #[test]
    fn where_no_check_decides_the_default_check_does() {
        let checks = checks(&check("a", "required = false", "true"));
        let names: Vec<(&str, bool)> = checks.iter().map(|c| (c.config.name.as_str(), c.required)).collect();
        assert_eq!(names, [("a", false), ("system", true)]);
    }
}

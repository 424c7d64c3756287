//! Shows the state of an assessment: changes in the journal, the current state in `systemctl status` and
//! `abide status`.

use log::{info, warn};

use crate::health::MonotonicClock;
use crate::health::assessment::AssessmentState;
use crate::health::{CheckResult, CheckStatus, PublishedResults};
use crate::systemd::journal;
use crate::systemd::notify::Notifier;
use abide_core::config::Assess;
use abide_core::config::duration::format;
use abide_core::root::Root;

/// `MESSAGE_ID` of a check that did not pass (docs/reference/events.md).
const CHECK_FAILED: &str = "22fe5470ddb14566bdb84d76978c6c18";

/// Shows each change once.
#[derive(Debug)]
pub(super) struct StatusReporter<'a> {
    root: &'a Root,
    assess: &'a Assess,
    clock: MonotonicClock,
    notifier: Notifier,
    checks: Vec<CheckResult>,
    was_healthy: bool,
    written: Option<PublishedResults>,
    can_write: bool,
}

impl<'a> StatusReporter<'a> {
    /// Nothing has been shown yet.
    pub(super) fn new(root: &'a Root, assess: &'a Assess, clock: MonotonicClock) -> Self {
        let (notifier, checks) = (Notifier::new(), Vec::new());
        Self { root, assess, clock, notifier, checks, was_healthy: false, written: None, can_write: true }
    }

    /// Shows the state and the results of the checks.
    pub(super) fn show(&mut self, state: &AssessmentState, checks: &[CheckResult]) {
        self.log_checks(checks);
        self.log_window(state);
        self.notifier.watchdog();
        self.notifier.status(&status(state, checks, &self.clock));
        let results = PublishedResults::new(self.root, self.assess.deadline, state, checks);
        if self.written.as_ref() != Some(&results) {
            if let Err(e) = results.write(self.root)
                && std::mem::take(&mut self.can_write)
            {
                warn!("{e}; `abide status` will not show the checks");
            }
            self.written = Some(results);
        }
        self.checks = checks.to_vec();
    }

    fn log_checks(&self, checks: &[CheckResult]) {
        for check in checks {
            let before = self.checks.iter().find(|c| c.name == check.name);
            let is_new = before.is_none_or(|b| (b.result, &b.reason) != (check.result, &check.reason));
            match check.result {
                CheckStatus::Pass if is_new => info!("check {check}"),
                CheckStatus::Fail if is_new => self.log_failed(check),
                CheckStatus::Pass | CheckStatus::Skipped | CheckStatus::Fail | CheckStatus::Pending => {}
            }
        }
    }

    /// With fields, so that failures can be counted by check.
    fn log_failed(&self, check: &CheckResult) {
        let fields = [
            ("MESSAGE", format!("check {check}")),
            ("MESSAGE_ID", CHECK_FAILED.to_owned()),
            ("PRIORITY", "4".to_owned()),
            ("SYSLOG_IDENTIFIER", "abide".to_owned()),
            ("ABIDE_CHECK", check.name.clone()),
            ("ABIDE_REQUIRED", if check.required { "1" } else { "0" }.to_owned()),
            ("ABIDE_REASON", check.reason.clone()),
        ];
        if !journal::send(self.root, &fields) {
            warn!("check {check}");
        }
    }

    fn log_window(&mut self, state: &AssessmentState) {
        let is_healthy = matches!(state, AssessmentState::Healthy { .. } | AssessmentState::LastRound { .. });
        match (self.was_healthy, is_healthy) {
            (false, true) => {
                let length = format(self.assess.test_window);
                info!("all required checks have passed; the test window of {length} starts");
            }
            (true, false) if *state == AssessmentState::Unhealthy => {
                warn!(
                    "the test window was interrupted; it starts again when all required checks have passed"
                );
            }
            _ => {}
        }
        self.was_healthy = is_healthy;
    }
}

/// One line for `systemctl status`.
fn status(state: &AssessmentState, checks: &[CheckResult], clock: &MonotonicClock) -> String {
    let open = checks.iter().find(|c| c.required && !c.result.is_fine());
    match (state, open) {
        (AssessmentState::Healthy { until }, _) => {
            let left = until.saturating_sub(clock.now()).as_secs_f64().ceil();
            format!("Testing for {left} more seconds")
        }
        (AssessmentState::Passed, _) => "The system on trial is healthy".into(),
        (AssessmentState::Failed(cause), _) => format!("The trial has failed: {}", cause.reason),
        // The test window may be over: a confirmation may come until the deadline.
        (AssessmentState::Unhealthy | AssessmentState::LastRound { .. }, Some(check)) => {
            format!("Waiting for check {check}")
        }
        (AssessmentState::Unhealthy | AssessmentState::LastRound { .. }, None) => "Checking once more".into(),
    }
}

//! What an assessment says while it goes on: to the journal what changes, to `systemctl status` and
//! `abide status` how things stand.

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

/// Remembers what was said last.
#[derive(Debug)]
pub struct Progress<'a> {
    root: &'a Root,
    assess: &'a Assess,
    clock: MonotonicClock,
    notifier: Notifier,
    checks: Vec<CheckResult>,
    was_healthy: bool,
    written: Option<PublishedResults>,
    can_write: bool,
}

impl<'a> Progress<'a> {
    /// Nothing has been said yet.
    #[must_use]
    pub fn new(root: &'a Root, assess: &'a Assess, clock: MonotonicClock) -> Self {
        let (notifier, checks) = (Notifier::new(), Vec::new());
        Self { root, assess, clock, notifier, checks, was_healthy: false, written: None, can_write: true }
    }

    /// Takes in how things stand now.
    pub fn show(&mut self, standing: &AssessmentState, checks: &[CheckResult]) {
        self.log_checks(checks);
        self.log_window(standing);
        self.notifier.watchdog();
        self.notifier.status(&status(standing, checks, &self.clock));
        let report = PublishedResults::new(self.root, self.assess.deadline, standing, checks);
        if self.written.as_ref() != Some(&report) {
            if let Err(e) = report.write(self.root)
                && std::mem::take(&mut self.can_write)
            {
                warn!("{e}; `abide status` will not show the checks");
            }
            self.written = Some(report);
        }
        self.checks = checks.to_vec();
    }

    fn log_checks(&self, checks: &[CheckResult]) {
        for check in checks {
            let before = self.checks.iter().find(|c| c.name == check.name);
            let is_news = before.is_none_or(|b| (b.result, &b.reason) != (check.result, &check.reason));
            match check.result {
                CheckStatus::Pass if is_news => info!("check {check}"),
                CheckStatus::Fail if is_news => self.say_failed(check),
                CheckStatus::Pass | CheckStatus::Fail | CheckStatus::Pending => {}
            }
        }
    }

    /// With fields, so that whoever collects journals can count by check.
    fn say_failed(&self, check: &CheckResult) {
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

    fn log_window(&mut self, standing: &AssessmentState) {
        let is_healthy =
            matches!(standing, AssessmentState::Healthy { .. } | AssessmentState::LastRound { .. });
        match (self.was_healthy, is_healthy) {
            (false, true) => {
                let length = format(self.assess.test_window);
                info!("all required checks have passed; the test window of {length} begins");
            }
            (true, false) if *standing == AssessmentState::Unhealthy => {
                warn!("the test window is broken and begins anew once all required checks have passed");
            }
            _ => {}
        }
        self.was_healthy = is_healthy;
    }
}

/// One line for `systemctl status`.
fn status(standing: &AssessmentState, checks: &[CheckResult], clock: &MonotonicClock) -> String {
    let open = checks.iter().find(|c| c.required && c.result != CheckStatus::Pass);
    match (standing, open) {
        (AssessmentState::Healthy { until }, _) => {
            let left = until.saturating_sub(clock.now()).as_secs_f64().ceil();
            format!("Testing for {left} more seconds")
        }
        (AssessmentState::Passed, _) => "The system on trial is healthy".into(),
        (AssessmentState::Failed(failure), _) => format!("The trial has failed: {}", failure.reason),
        // The test window may have held meanwhile: an answer is waited for until the deadline.
        (AssessmentState::Unhealthy | AssessmentState::LastRound { .. }, Some(check)) => {
            format!("Waiting for check {check}")
        }
        (AssessmentState::Unhealthy | AssessmentState::LastRound { .. }, None) => "Checking once more".into(),
    }
}

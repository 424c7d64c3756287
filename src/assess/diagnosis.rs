//! Why a system has failed, as a verdict: from the checks, or from systemd if the checks give no reason.

use std::time::Duration;

use crate::config::kinds::{SystemCheck, UnitCheck};
use crate::health::assessment::FailureCause;
use crate::health::kinds::system::SystemProbe;
use crate::health::kinds::unit::UnitProbe;
use crate::health::{CheckResult, CheckStatus, Probe, ProbeResult, PublishedResults};
use crate::systemd::Manager;
use abide_core::config::duration::format;
use abide_core::error::Error;
use abide_core::root::Root;
use abide_core::state::{FailedCheck, Phase, Verdict};

const ASSESS: &str = "abide-assess.service";
const COMPLETE: &str = "boot-complete.target";

/// The time limit of each question to systemd: the system is not healthy, and the reboot must not wait.
const LIMIT: Duration = Duration::from_secs(5);

/// The verdict on a system whose checks failed.
pub(super) fn of_checks(cause: &FailureCause, results: &[CheckResult]) -> Verdict {
    let output_of = |name: &str| results.iter().find(|r| r.name == name).map(|r| r.output.clone());
    let checks = cause.checks.iter().map(|(name, reason)| FailedCheck {
        name: name.clone(),
        reason: reason.clone(),
        output: output_of(name).unwrap_or_default(),
    });
    Verdict { phase: Phase::Checks, reason: cause.reason.clone(), checks: checks.collect() }
}

/// The verdict on a trial whose configuration cannot be read.
pub(super) fn of_configuration(error: &Error) -> Verdict {
    Verdict { phase: Phase::Userspace, reason: error.to_string(), checks: vec![] }
}

/// The verdict on a trial whose `deadline` has passed.
pub(super) fn of_deadline(root: &Root, deadline: Duration) -> Verdict {
    let limit = format(deadline);
    let Some(published) = PublishedResults::read(root) else {
        let why = match system_probe(root).run(LIMIT) {
            ProbeResult::NotYet(reason) | ProbeResult::Failed(reason) => format!(": {reason}"),
            ProbeResult::Pass | ProbeResult::Skipped(_) => String::new(),
        };
        let reason = format!("the deadline of {limit} has passed before the checks began{why}");
        return Verdict { phase: Phase::Userspace, reason, checks: vec![] };
    };
    let why = match published.checks.iter().find(|check| is_open(check)) {
        Some(check) => format!("check '{}': {}", check.name, reason(check)),
        None => failed_requirement(root).unwrap_or_else(|| "the system was not committed in time".into()),
    };
    let reason = format!("the deadline of {limit} has passed: {why}");
    Verdict { phase: Phase::Checks, reason, checks: failed(&published.checks) }
}

/// The verdict on a trial that a failed unit has ended, not a check: the first cause that is found.
pub(super) fn of_failed_unit(root: &Root, deadline: Duration) -> Verdict {
    let published = PublishedResults::read(root);
    let phase = if published.is_some() { Phase::Checks } else { Phase::Userspace };
    let checks = failed(&published.map(|p| p.checks).unwrap_or_default());
    let reason = system_probe(root)
        .dead_end(LIMIT)
        .or_else(|| failed_assessment(root))
        .or_else(|| failed_requirement(root))
        .unwrap_or_else(|| {
            format!("{COMPLETE} cannot be reached before the deadline of {}", format(deadline))
        });
    Verdict { phase, reason, checks }
}

fn system_probe(root: &Root) -> SystemProbe {
    SystemProbe::new(&SystemCheck::default(), &[], root)
}

/// `the assessment ended without a result: abide-assess.service failed (signal, signal 9)`
fn failed_assessment(root: &Root) -> Option<String> {
    failure_of(root, ASSESS).map(|failure| format!("the assessment ended without a result: {failure}"))
}

/// Another unit that boot-complete.target requires and that has failed.
fn failed_requirement(root: &Root) -> Option<String> {
    let answer = Manager::new(root, LIMIT).show(&[COMPLETE], &["Requires"]).ok()?;
    let units = answer.first()?.get("Requires")?.clone();
    units
        .split_whitespace()
        .filter(|unit| *unit != ASSESS)
        .find_map(|unit| failure_of(root, unit))
        .map(|failure| format!("{failure}, which {COMPLETE} requires"))
}

fn failure_of(root: &Root, unit: &str) -> Option<String> {
    let check = UnitCheck { units: vec![unit.to_owned()], restarts_allowed: u32::MAX };
    match UnitProbe::new(&check, root).run(LIMIT) {
        ProbeResult::Failed(reason) => Some(reason),
        ProbeResult::Pass | ProbeResult::Skipped(_) | ProbeResult::NotYet(_) => None,
    }
}

fn is_open(check: &CheckResult) -> bool {
    check.required && !check.result.is_fine()
}

fn reason(check: &CheckResult) -> String {
    match check.result {
        CheckStatus::Pending => "no result".into(),
        CheckStatus::Pass | CheckStatus::Skipped | CheckStatus::Fail => check.reason.clone(),
    }
}

fn failed(checks: &[CheckResult]) -> Vec<FailedCheck> {
    let open = checks.iter().filter(|c| is_open(c));
    open.map(|c| FailedCheck { name: c.name.clone(), reason: reason(c), output: c.output.clone() }).collect()
}

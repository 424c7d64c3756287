//! Why did a trial fail, when the assessment itself can no longer tell?

use std::time::Duration;

use crate::config::kinds::{SystemCheck, UnitCheck};
use crate::health::kinds::system::SystemProbe;
use crate::health::kinds::unit::UnitProbe;
use crate::health::{CheckResult, CheckStatus, ProbeResult, PublishedResults};
use crate::systemd::Manager;
use abide_core::config::duration::format;
use abide_core::root::Root;
use abide_core::state::{FailedCheck, Phase, Verdict};

const ASSESS: &str = "abide-assess.service";
const COMPLETE: &str = "boot-complete.target";

/// Questions are asked of a sick system, and what comes after the answers must not wait long.
const LIMIT: Duration = Duration::from_secs(5);

/// The verdict on a trial whose `deadline` has passed.
#[must_use]
pub fn of_deadline(root: &Root, deadline: Duration) -> Verdict {
    let limit = format(deadline);
    match PublishedResults::read(root) {
        Some(report) => {
            let checks = failed(&report.checks);
            let why = match report.checks.iter().find(|c| is_open(c)) {
                Some(check) => format!(": check '{}': {}", check.name, reason(check)),
                None => {
                    let others = requirements(root).map(|r| format!(": {r}"));
                    others.unwrap_or_else(|| ": the system was not committed in time".into())
                }
            };
            Verdict {
                phase: Phase::Checks,
                reason: format!("the deadline of {limit} has passed{why}"),
                checks,
            }
        }
        None => {
            let why = match system(root) {
                ProbeResult::NotYet(reason) | ProbeResult::Failed(reason) => format!(": {reason}"),
                ProbeResult::Pass => String::new(),
            };
            let reason = format!("the deadline of {limit} has passed before the checks began{why}");
            Verdict { phase: Phase::Userspace, reason, checks: vec![] }
        }
    }
}

/// The verdict on a trial that something other than its checks has ended: the first cause that can
/// be found.
#[must_use]
pub fn of_failure(root: &Root, deadline: Duration) -> Verdict {
    let report = PublishedResults::read(root);
    let phase = if report.is_some() { Phase::Checks } else { Phase::Userspace };
    let checks = failed(&report.map(|r| r.checks).unwrap_or_default());
    let emergency = match system(root) {
        ProbeResult::Failed(reason) if reason.contains("fell into") => Some(reason),
        _ => None,
    };
    let reason =
        emergency.or_else(|| death_of_assessment(root)).or_else(|| requirements(root)).unwrap_or_else(|| {
            format!("{COMPLETE} cannot be reached before the deadline of {}", format(deadline))
        });
    Verdict { phase, reason, checks }
}

fn system(root: &Root) -> ProbeResult {
    SystemProbe::new(&SystemCheck::default(), &[], root).run(LIMIT)
}

/// `the assessment has died: abide-assess.service failed (signal, signal 9)`
fn death_of_assessment(root: &Root) -> Option<String> {
    fault_of(root, ASSESS).map(|fault| format!("the assessment has died: {fault}"))
}

/// What else has a say in whether the boot is complete, and has failed.
fn requirements(root: &Root) -> Option<String> {
    let answer = Manager::new(root, LIMIT).show(&[COMPLETE], &["Requires"]).ok()?;
    let units = answer.first()?.get("Requires")?.clone();
    units
        .split_whitespace()
        .filter(|unit| *unit != ASSESS)
        .find_map(|unit| fault_of(root, unit))
        .map(|fault| format!("{fault}, which {COMPLETE} requires"))
}

fn fault_of(root: &Root, unit: &str) -> Option<String> {
    let check = UnitCheck { units: vec![unit.to_owned()], restarts_allowed: u32::MAX };
    match UnitProbe::new(&check, root).run(LIMIT) {
        ProbeResult::Failed(reason) => Some(reason),
        ProbeResult::Pass | ProbeResult::NotYet(_) => None,
    }
}

fn is_open(check: &CheckResult) -> bool {
    check.required && check.result != CheckStatus::Pass
}

fn reason(check: &CheckResult) -> String {
    match check.result {
        CheckStatus::Pending => "no result".into(),
        CheckStatus::Pass | CheckStatus::Fail => check.reason.clone(),
    }
}

fn failed(checks: &[CheckResult]) -> Vec<FailedCheck> {
    let open = checks.iter().filter(|c| is_open(c));
    open.map(|c| FailedCheck { name: c.name.clone(), reason: reason(c), output: c.output.clone() }).collect()
}

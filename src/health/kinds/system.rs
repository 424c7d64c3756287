//! `kind = "system"`: systemd has finished booting, and no unit failed that had not failed before.
//!
//! systemd calls that `running` or `degraded`. That state cannot be used here: systemd says `starting` as
//! long as any job is queued, and the assessment is such a job.

use std::time::Duration;

use crate::config::kinds::SystemCheck;
use crate::health::pattern;
use crate::health::probe::{Probe, ProbeResult};
use crate::systemd::{Job, Manager};
use abide_core::root::Root;

const DEFAULT: &str = "default.target";

/// The targets from which a system does not continue by itself.
const DEAD_ENDS: [&str; 2] = ["emergency.target", "rescue.target"];

/// The state of the whole system.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct SystemState {
    /// The unit that `default.target` is a link to.
    default: String,
    default_is_active: bool,
    /// One of the [`DEAD_ENDS`], if it is active.
    dead_end: Option<String>,
    failed: Vec<String>,
    jobs: Vec<Job>,
}

/// The check, with the units that may have failed.
#[derive(Debug)]
pub struct SystemProbe {
    allowed: Vec<String>,
    root: Root,
}

impl SystemProbe {
    /// `failed_before` are the units that had failed on the last committed boot.
    #[must_use]
    pub fn new(config: &SystemCheck, failed_before: &[String], root: &Root) -> Self {
        let mut allowed = config.allow_failed.clone();
        allowed.extend_from_slice(failed_before);
        Self { allowed, root: root.clone() }
    }

    /// The target that the system cannot leave by itself, as a reason; none if it is in no such target, or
    /// if systemd does not answer.
    #[must_use]
    pub fn dead_end(&self, limit: Duration) -> Option<String> {
        let state = gather(&Manager::new(&self.root, limit)).ok()?;
        dead_end(&state, &self.allowed)
    }
}

impl Probe for SystemProbe {
    fn run(&mut self, limit: Duration) -> ProbeResult {
        match gather(&Manager::new(&self.root, limit)) {
            Ok(state) => evaluate(&state, &self.allowed),
            Err(reason) => ProbeResult::NotYet(reason),
        }
    }
}

fn gather(systemd: &Manager) -> Result<SystemState, String> {
    let mut state = SystemState { failed: systemd.failed_units()?, ..SystemState::default() };
    let mut units = vec![DEFAULT];
    units.extend(DEAD_ENDS);
    for (unit, properties) in units.iter().zip(systemd.show(&units, &["Id", "ActiveState"])?) {
        let is_active = properties.get("ActiveState").is_some_and(|s| s == "active");
        if *unit == DEFAULT {
            state.default = properties.get("Id").cloned().unwrap_or_else(|| DEFAULT.into());
            state.default_is_active = is_active;
        } else if is_active {
            state.dead_end = Some((*unit).into());
        }
    }
    if !state.default_is_active {
        state.jobs = systemd.jobs()?;
    }
    Ok(state)
}

fn evaluate(state: &SystemState, allowed: &[String]) -> ProbeResult {
    if let Some(reason) = dead_end(state, allowed) {
        return ProbeResult::Failed(reason);
    }
    let failed = unexpected_failures(state, allowed);
    if !state.default_is_active {
        let why = failed.map(|failed| format!("; {failed}")).unwrap_or_default();
        let waits = waiting_for(&state.jobs);
        return ProbeResult::NotYet(format!("{} is not reached{waits}{why}", state.default));
    }
    match failed {
        // The boot is over: systemd starts none of these again by itself.
        Some(failed) => ProbeResult::Failed(failed),
        None => ProbeResult::Pass,
    }
}

/// The dead end that the system is in, unless it is the default target.
fn dead_end(state: &SystemState, allowed: &[String]) -> Option<String> {
    let target = state.dead_end.as_ref().filter(|target| **target != state.default)?;
    let why = unexpected_failures(state, allowed).map(|failed| format!("; {failed}")).unwrap_or_default();
    Some(format!("the system entered {target}{why}"))
}

/// `failed: a.service, b.mount`
fn unexpected_failures(state: &SystemState, allowed: &[String]) -> Option<String> {
    let is_allowed = |unit: &str| allowed.iter().any(|pattern| pattern::matches(pattern, unit));
    let unexpected: Vec<&str> =
        state.failed.iter().map(String::as_str).filter(|unit| !is_allowed(unit)).collect();
    (!unexpected.is_empty()).then(|| format!("failed: {}", unexpected.join(", ")))
}

/// The jobs that the others wait for, without Abide's own.
fn waiting_for(jobs: &[Job]) -> String {
    let running: Vec<&str> = jobs
        .iter()
        .filter(|job| job.is_running && job.kind != "stop" && !job.unit.starts_with("abide-"))
        .map(|job| job.unit.as_str())
        .collect();
    if running.is_empty() { String::new() } else { format!("; still starting: {}", running.join(", ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn booted(failed: &[&str]) -> SystemState {
        SystemState {
            default: "multi-user.target".into(),
            default_is_active: true,
            failed: failed.iter().map(|&f| f.into()).collect(),
            ..SystemState::default()
        }
    }

    fn job(unit: &str, is_running: bool) -> Job {
        Job { unit: unit.into(), kind: "start".into(), is_running }
    }

    #[test]
    fn a_booted_system_without_failed_units_passes() {
        assert_eq!(evaluate(&booted(&[]), &[]), ProbeResult::Pass);
    }

    #[test]
    fn units_that_had_failed_before_or_may_fail_are_overlooked() {
        let state = booted(&["old.service", "fwupd-refresh.service"]);
        assert_eq!(evaluate(&state, &["old.service".into(), "fwupd*".into()]), ProbeResult::Pass);
    }

    #[test]
    fn a_newly_failed_unit_fails_the_booted_system_for_good() {
        assert_eq!(
            evaluate(&booted(&["old.service", "new.service"]), &["old.service".into()]),
            ProbeResult::Failed("failed: new.service".into())
        );
    }

    #[test]
    fn a_boot_that_hangs_names_the_unit_that_it_waits_for() {
        let state = SystemState {
            default_is_active: false,
            jobs: vec![
                job("multi-user.target", false),
                job("hang.service", true),
                job("abide-assess.service", true),
            ],
            ..booted(&[])
        };
        assert_eq!(
            evaluate(&state, &[]),
            ProbeResult::NotYet("multi-user.target is not reached; still starting: hang.service".into())
        );
    }

    #[test]
    fn a_unit_that_failed_while_booting_may_still_recover() {
        let state = SystemState { default_is_active: false, ..booted(&["x.service"]) };
        assert_eq!(
            evaluate(&state, &[]),
            ProbeResult::NotYet("multi-user.target is not reached; failed: x.service".into())
        );
    }

    #[test]
    fn emergency_mode_is_a_failure_for_good() {
        let state = SystemState {
            default_is_active: false,
            dead_end: Some("emergency.target".into()),
            ..booted(&["data.mount"])
        };
        assert_eq!(
            evaluate(&state, &[]),
            ProbeResult::Failed("the system entered emergency.target; failed: data.mount".into())
        );
    }
}

//! `kind = "system"`: systemd has finished booting, and no unit failed that had not failed before.
//!
//! systemd's own word for that is `running` or `degraded`. It cannot be asked for here: as long as
//! any job is queued systemd says `starting`, and the assessment is itself such a job.

use std::time::Duration;

use crate::config::kinds::SystemCheck;
use crate::health::ProbeResult;
use crate::health::pattern;
use crate::systemd::{Job, Manager};
use abide_core::root::Root;

const DEFAULT: &str = "default.target";

/// Where a system ends that cannot go on by itself.
const DEAD_ENDS: [&str; 2] = ["emergency.target", "rescue.target"];

/// What systemd says about the whole system.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct SystemState {
    /// What `default.target` stands for.
    default: String,
    default_is_active: bool,
    /// One of the [`DEAD_ENDS`], if it is active.
    dead_end: Option<String>,
    failed: Vec<String>,
    jobs: Vec<Job>,
}

/// The check, with what is allowed to have failed.
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

    /// Asks systemd once.
    pub fn run(&mut self, limit: Duration) -> ProbeResult {
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
    let unexpected: Vec<&str> = state
        .failed
        .iter()
        .map(String::as_str)
        .filter(|unit| !allowed.iter().any(|pattern| pattern::matches(pattern, unit)))
        .collect();
    let failed = (!unexpected.is_empty()).then(|| format!("failed: {}", unexpected.join(", ")));
    // Where the default target is a dead end, someone wants it so.
    if let Some(target) = state.dead_end.as_ref().filter(|target| **target != state.default) {
        let why = failed.map(|f| format!("; {f}")).unwrap_or_default();
        return ProbeResult::Failed(format!("the system fell into {target}{why}"));
    }
    if !state.default_is_active {
        let why = failed.map(|f| format!("; {f}")).unwrap_or_default();
        return ProbeResult::NotYet(format!(
            "{} is not reached{}{why}",
            state.default,
            waiting_for(&state.jobs)
        ));
    }
    match failed {
        // The boot is over; what has failed now stays so.
        Some(failed) => ProbeResult::Failed(failed),
        None => ProbeResult::Pass,
    }
}

/// The jobs that hold up the others; our own is one of those that run.
fn waiting_for(jobs: &[Job]) -> String {
    let running: Vec<&str> = jobs
        .iter()
        .filter(|job| job.is_running && job.kind != "stop" && !job.unit.starts_with("abide-"))
        .map(|job| job.unit.as_str())
        .collect();
    match running.is_empty() {
        true => String::new(),
        false => format!("; still starting: {}", running.join(", ")),
    }
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
            ProbeResult::Failed("the system fell into emergency.target; failed: data.mount".into())
        );
    }
}

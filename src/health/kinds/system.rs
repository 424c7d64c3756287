//! `kind = "system"`: systemd has finished booting, and no unit failed that had not failed before.
//!
//! systemd calls that `running` or `degraded`. That state cannot be used here: systemd says `starting` as
//! long as any job is queued, and the assessment is such a job.

use std::time::Duration;

use crate::config::kinds::SystemCheck;
use crate::health::pattern;
use crate::health::probe::{Probe, ProbeResult};
use crate::health::{starters, unit_names};
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
    /// Those that have failed, apart from those that may, each with what will start it again.
    failed: Vec<(String, Option<String>)>,
    jobs: Vec<Job>,
}

/// The check, with the units that may have failed.
#[derive(Debug)]
pub struct SystemProbe {
    excuses: Excuses,
    root: Root,
}

/// The units that may have failed.
#[derive(Debug)]
struct Excuses {
    /// By pattern.
    allowed: Vec<String>,
    /// Those that had failed on the last committed boot.
    failed_before: Vec<String>,
}

impl SystemProbe {
    /// `failed_before` are the units that had failed on the last committed boot.
    #[must_use]
    pub fn new(config: &SystemCheck, failed_before: &[String], root: &Root) -> Self {
        let (allowed, failed_before) = (config.allow_failed.clone(), failed_before.to_vec());
        Self { excuses: Excuses { allowed, failed_before }, root: root.clone() }
    }

    /// The target that the system cannot leave by itself, as a reason; none if it is in no such target, or
    /// if systemd does not answer.
    #[must_use]
    pub fn dead_end(&self, limit: Duration) -> Option<String> {
        let state = gather(&Manager::new(&self.root, limit), &self.excuses).ok()?;
        dead_end(&state)
    }
}

impl Probe for SystemProbe {
    fn run(&mut self, limit: Duration) -> ProbeResult {
        match gather(&Manager::new(&self.root, limit), &self.excuses) {
            Ok(state) => evaluate(&state),
            Err(reason) => ProbeResult::NotYet(reason),
        }
    }
}

impl Excuses {
    /// The units of `failed` that may not have failed.
    fn unexpected<'u>(&self, failed: &'u [String]) -> Vec<&'u str> {
        let mut unexpected = unit_names::new_failures(failed, &self.failed_before);
        unexpected.retain(|unit| !self.allowed.iter().any(|pattern| pattern::matches(pattern, unit)));
        unexpected
    }
}

fn gather(systemd: &Manager, excuses: &Excuses) -> Result<SystemState, String> {
    let all_failed = systemd.failed_units()?;
    let failed = excuses.unexpected(&all_failed);
    let starters = starters::of(systemd, &failed)?;
    let failed = failed.into_iter().map(str::to_owned).zip(starters).collect();
    let mut state = SystemState { failed, ..SystemState::default() };
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

fn evaluate(state: &SystemState) -> ProbeResult {
    if let Some(reason) = dead_end(state) {
        return ProbeResult::Failed(reason);
    }
    let failed = failures(state);
    if !state.default_is_active {
        let why = failed.map(|failed| format!("; {failed}")).unwrap_or_default();
        let waits = waiting_for(&state.jobs);
        return ProbeResult::NotYet(format!("{} is not reached{waits}{why}", state.default));
    }
    match failed {
        // At the deadline that is a failure, too.
        Some(failed) if state.failed.iter().all(|(_, starter)| starter.is_some()) => {
            ProbeResult::NotYet(failed)
        }
        // The boot is over: nothing starts the others again.
        Some(failed) => ProbeResult::Failed(failed),
        None => ProbeResult::Pass,
    }
}

/// The dead end that the system is in, unless it is the default target.
fn dead_end(state: &SystemState) -> Option<String> {
    let target = state.dead_end.as_ref().filter(|target| **target != state.default)?;
    let why = failures(state).map(|failed| format!("; {failed}")).unwrap_or_default();
    Some(format!("the system entered {target}{why}"))
}

/// `failed: a.service, b.service (b.timer starts it again)`
fn failures(state: &SystemState) -> Option<String> {
    let shown = |(unit, starter): &(String, Option<String>)| match starter {
        None => unit.clone(),
        Some(starter) => format!("{unit} ({starter})"),
    };
    let failed: Vec<String> = state.failed.iter().map(shown).collect();
    (!failed.is_empty()).then(|| format!("failed: {}", failed.join(", ")))
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
    #![allow(clippy::indexing_slicing)]
    use super::*;

    fn booted(failed: &[&str]) -> SystemState {
        SystemState {
            default: "multi-user.target".into(),
            default_is_active: true,
            failed: failed.iter().map(|&f| (f.into(), None)).collect(),
            ..SystemState::default()
        }
    }

    fn job(unit: &str, is_running: bool) -> Job {
        Job { unit: unit.into(), kind: "start".into(), is_running }
    }

    #[test]
    fn a_booted_system_without_failed_units_passes() {
        assert_eq!(evaluate(&booted(&[])), ProbeResult::Pass);
    }

    #[test]
    fn units_that_had_failed_before_or_may_fail_are_overlooked() {
        let excuses = Excuses { allowed: vec!["fwupd*".into()], failed_before: vec!["old@1.service".into()] };
        let failed = ["fwupd-refresh.service", "new.service", "old@2.service"].map(str::to_owned);
        assert_eq!(excuses.unexpected(&failed), ["new.service"]);
    }

    #[test]
    fn a_newly_failed_unit_fails_the_booted_system_for_good() {
        assert_eq!(evaluate(&booted(&["new.service"])), ProbeResult::Failed("failed: new.service".into()));
    }

    #[test]
    fn a_failed_unit_that_is_started_again_may_still_recover() {
        let mut state = booted(&["sync.service"]);
        state.failed[0].1 = Some("sync.timer starts it again".into());
        let both = "failed: sync.service (sync.timer starts it again)";
        assert_eq!(evaluate(&state), ProbeResult::NotYet(both.into()));
        state.failed.push(("new.service".into(), None));
        assert_eq!(evaluate(&state), ProbeResult::Failed(format!("{both}, new.service")));
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
            evaluate(&state),
            ProbeResult::NotYet("multi-user.target is not reached; still starting: hang.service".into())
        );
    }

    #[test]
    fn a_unit_that_failed_while_booting_may_still_recover() {
        let state = SystemState { default_is_active: false, ..booted(&["x.service"]) };
        assert_eq!(
            evaluate(&state),
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
            evaluate(&state),
            ProbeResult::Failed("the system entered emergency.target; failed: data.mount".into())
        );
    }
}

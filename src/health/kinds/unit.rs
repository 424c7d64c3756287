//! `kind = "unit"`: named units are active, or have finished.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::config::kinds::UnitCheck;
use crate::health::probe::{Probe, ProbeResult};
use crate::health::starters;
use crate::systemd::{Manager, Properties};
use abide_core::root::Root;

/// What is asked about each unit. Other types of unit than services leave some of them out.
const PROPERTIES: [&str; 13] = [
    "Id",
    "LoadState",
    "ActiveState",
    "SubState",
    "Result",
    "Type",
    "NRestarts",
    "InvocationID",
    "ExecMainCode",
    "ExecMainStatus",
    "ConditionResult",
    "ConditionTimestampMonotonic",
    "InactiveEnterTimestampMonotonic",
];

/// The state of a unit when it was first healthy: later starts are restarts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Run {
    invocation: String,
    restarts: u32,
}

/// The check, with what it has seen.
#[derive(Debug)]
pub struct UnitProbe {
    config: UnitCheck,
    root: Root,
    seen: BTreeMap<String, Run>,
}

impl UnitProbe {
    /// A check that has not seen anything yet.
    #[must_use]
    pub fn new(config: &UnitCheck, root: &Root) -> Self {
        Self { config: config.clone(), root: root.clone(), seen: BTreeMap::new() }
    }
}

impl Probe for UnitProbe {
    fn run(&mut self, limit: Duration) -> ProbeResult {
        let names: Vec<&str> = self.config.units.iter().map(String::as_str).collect();
        let manager = Manager::new(&self.root, limit);
        let states = match manager.show(&names, &PROPERTIES) {
            Ok(states) => states,
            Err(reason) => return ProbeResult::NotYet(reason),
        };
        let mut result = ProbeResult::Pass;
        for (name, state) in self.config.units.iter().zip(&states) {
            result = worse(result, unless_started_again(evaluate(name, state), &manager, name, state));
            let Some(restarts) = restarts(self.seen.get(name), state) else { continue };
            if restarts > self.config.restarts_allowed {
                result = worse(result, ProbeResult::NotYet(format!("{name} was restarted")));
                self.seen.remove(name);
            }
            if !self.seen.contains_key(name) {
                self.seen.insert(name.clone(), run_of(state));
            }
        }
        result
    }
}

/// The worse of two findings; of two that are equally bad the first.
fn worse(a: ProbeResult, b: ProbeResult) -> ProbeResult {
    let badness = |result: &ProbeResult| match result {
        ProbeResult::Pass | ProbeResult::Skipped(_) => 0,
        ProbeResult::NotYet(_) => 1,
        ProbeResult::Failed(_) => 2,
    };
    if badness(&b) > badness(&a) { b } else { a }
}

/// `result`, unless the unit has failed and something will start it again.
fn unless_started_again(
    result: ProbeResult,
    manager: &Manager,
    name: &str,
    state: &Properties,
) -> ProbeResult {
    let has_failed = state.get("ActiveState").is_some_and(|state| state == "failed");
    let reason = match result {
        ProbeResult::Failed(reason) if has_failed => reason,
        result => return result,
    };
    match starters::of(manager, &[name]).map(|starters| starters.into_iter().flatten().next()) {
        Ok(None) => ProbeResult::Failed(reason),
        Ok(Some(starter)) => ProbeResult::NotYet(format!("{reason}; {starter}")),
        Err(why) => ProbeResult::NotYet(format!("{reason}; {why}")),
    }
}

/// Whether a unit is healthy (systemd.unit(5), org.freedesktop.systemd1(5)).
fn evaluate(name: &str, state: &Properties) -> ProbeResult {
    let get = |key: &str| state.get(key).map_or("", String::as_str);
    match get("LoadState") {
        "loaded" | "" => {}
        "not-found" => return ProbeResult::Failed(format!("there is no {name}")),
        "masked" => return ProbeResult::Failed(format!("{name} is masked")),
        bad => return ProbeResult::Failed(format!("{name} cannot be loaded ({bad})")),
    }
    match (get("ActiveState"), get("SubState")) {
        ("active" | "reloading" | "refreshing", _) => ProbeResult::Pass,
        ("failed", _) => ProbeResult::Failed(format!("{name} failed ({})", cause(state))),
        // Not failed permanently: systemd is about to start it again.
        ("activating", "auto-restart" | "auto-restart-queued") => {
            ProbeResult::NotYet(format!("{name} failed and is being restarted ({})", cause(state)))
        }
        ("inactive", _) if get("Type") == "oneshot" && has_finished(state) => ProbeResult::Pass,
        // systemd reports them as not met also while it has not checked them yet, because the start of
        // the unit still waits.
        ("inactive", _) if get("ConditionTimestampMonotonic") == "0" => {
            ProbeResult::NotYet(format!("{name} has not been started yet"))
        }
        ("inactive", _) if get("ConditionResult") == "no" => {
            ProbeResult::NotYet(format!("{name} was not started: its conditions are not met"))
        }
        (active, sub) => ProbeResult::NotYet(format!("{name} is {active} ({sub})")),
    }
}

/// A oneshot service without `RemainAfterExit=` is inactive before and after it ran.
fn has_finished(state: &Properties) -> bool {
    let is = |key: &str, value: &str| state.get(key).is_some_and(|v| v == value);
    is("Result", "success") && !is("InactiveEnterTimestampMonotonic", "0") && !is("ExecMainCode", "0")
}

/// `exit-code, status 1`, `signal, 9`, `start-limit-hit`.
fn cause(state: &Properties) -> String {
    let get = |key: &str| state.get(key).map_or("", String::as_str);
    let (result, status) = (get("Result"), get("ExecMainStatus"));
    match get("ExecMainCode") {
        // CLD_EXITED, CLD_KILLED, CLD_DUMPED of sigaction(2).
        "1" if status != "0" => format!("{result}, status {status}"),
        "2" | "3" => format!("{result}, signal {status}"),
        _ => result.to_owned(),
    }
}

fn run_of(state: &Properties) -> Run {
    Run {
        invocation: state.get("InvocationID").cloned().unwrap_or_default(),
        restarts: state.get("NRestarts").and_then(|n| n.parse().ok()).unwrap_or(0),
    }
}

/// How often the unit was started again since it was first healthy; `None` while it is not healthy. A
/// oneshot starts again whenever something requires it, which is not a fault.
fn restarts(seen: Option<&Run>, state: &Properties) -> Option<u32> {
    if state.get("ActiveState").is_none_or(|s| s != "active") {
        return seen.map(|_| 0);
    }
    let (Some(seen), now) = (seen, run_of(state)) else { return Some(0) };
    let counted = now.restarts.saturating_sub(seen.restarts);
    let by_hand =
        u32::from(now.invocation != seen.invocation && state.get("Type").is_none_or(|t| t != "oneshot"));
    Some(counted.max(by_hand))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(text: &str) -> Properties {
        text.split(' ').filter_map(|p| p.split_once('=')).map(|(k, v)| (k.into(), v.into())).collect()
    }

    fn evaluated(text: &str) -> ProbeResult {
        evaluate("x.service", &state(text))
    }

    fn not_yet(reason: &str) -> ProbeResult {
        ProbeResult::NotYet(reason.into())
    }

    fn failed(reason: &str) -> ProbeResult {
        ProbeResult::Failed(reason.into())
    }

    #[test]
    fn a_unit_that_has_yet_to_start_is_told_from_one_with_failed_conditions() {
        let never = "ActiveState=inactive SubState=dead ConditionResult=no ConditionTimestampMonotonic=0";
        assert_eq!(evaluated(never), not_yet("x.service has not been started yet"));
        let looked = "ActiveState=inactive SubState=dead ConditionResult=no ConditionTimestampMonotonic=77";
        assert_eq!(evaluated(looked), not_yet("x.service was not started: its conditions are not met"));
    }

    #[test]
    fn an_active_unit_passes_whatever_its_type() {
        assert_eq!(evaluated("LoadState=loaded ActiveState=active SubState=running"), ProbeResult::Pass);
        assert_eq!(evaluated("LoadState=loaded ActiveState=active SubState=mounted"), ProbeResult::Pass);
    }

    #[test]
    fn a_oneshot_passes_once_it_has_finished() {
        let done = "LoadState=loaded ActiveState=inactive SubState=dead Type=oneshot Result=success \
                    ExecMainCode=1 InactiveEnterTimestampMonotonic=5";
        assert_eq!(evaluated(done), ProbeResult::Pass);
        let before = "LoadState=loaded ActiveState=inactive SubState=dead Type=oneshot Result=success \
                      ExecMainCode=0 InactiveEnterTimestampMonotonic=0";
        assert_eq!(evaluated(before), not_yet("x.service is inactive (dead)"));
    }

    #[test]
    fn a_unit_that_is_still_starting_has_not_failed_for_good() {
        assert_eq!(
            evaluated("LoadState=loaded ActiveState=activating SubState=start"),
            not_yet("x.service is activating (start)")
        );
    }

    #[test]
    fn a_unit_that_systemd_restarts_has_not_failed_for_good() {
        assert_eq!(
            evaluated(
                "LoadState=loaded ActiveState=activating SubState=auto-restart Result=exit-code \
                 ExecMainCode=1 ExecMainStatus=7"
            ),
            not_yet("x.service failed and is being restarted (exit-code, status 7)")
        );
    }

    #[test]
    fn a_failed_unit_has_failed_for_good_and_says_how() {
        assert_eq!(
            evaluated("LoadState=loaded ActiveState=failed Result=signal ExecMainCode=2 ExecMainStatus=9"),
            failed("x.service failed (signal, signal 9)")
        );
        assert_eq!(
            evaluated("LoadState=loaded ActiveState=failed Result=start-limit-hit"),
            failed("x.service failed (start-limit-hit)")
        );
    }

    #[test]
    fn a_unit_that_does_not_exist_will_not_come() {
        assert_eq!(evaluated("LoadState=not-found ActiveState=inactive"), failed("there is no x.service"));
        assert_eq!(evaluated("LoadState=masked ActiveState=inactive"), failed("x.service is masked"));
    }

    #[test]
    fn restarts_by_systemd_and_by_hand_are_counted() {
        let seen = Run { invocation: "1".into(), restarts: 2 };
        let running = |n: u32, id: &str| {
            state(&format!("ActiveState=active Type=simple NRestarts={n} InvocationID={id}"))
        };
        assert_eq!(restarts(Some(&seen), &running(2, "1")), Some(0));
        assert_eq!(restarts(Some(&seen), &running(4, "9")), Some(2));
        assert_eq!(restarts(Some(&seen), &running(2, "9")), Some(1));
        assert_eq!(restarts(None, &running(7, "1")), Some(0));
    }

    #[test]
    fn of_several_units_the_worst_decides() {
        assert_eq!(worse(not_yet("a"), failed("b")), failed("b"));
        assert_eq!(worse(not_yet("a"), not_yet("b")), not_yet("a"));
        assert_eq!(worse(ProbeResult::Pass, not_yet("b")), not_yet("b"));
    }
}

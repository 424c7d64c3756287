//! What to report about an action, from the state of its update on this machine. Pure.
//!
//! The feedback follows from the state, not from the steps that led to it, so a power cut or a reboot loses nothing.
//! Success is reported after the commit, not before.

use crate::agent::source::hawkbit::feedback::{About, Execution, Feedback, Finished, Milestone};
use crate::agent::source::hawkbit::ledger::Ledger;
use crate::update::phase;
use abide_core::state::{Failure, Stage, Update};

/// The state of the updates on this machine.
#[derive(Debug, Clone, Copy)]
pub struct UpdateState<'a> {
    /// The update in flight, or the last one that ended.
    pub update: Option<&'a Update>,
    /// The images that failed.
    pub failures: &'a [Failure],
    /// Milliseconds since 1970.
    pub now_ms: i64,
}

/// Queues the feedback about how far the action has come.
pub fn queue_progress(ledger: &mut Ledger, state: UpdateState<'_>) {
    let Some(action) = &ledger.action else { return };
    let is_it = |update: &&Update| action.digest.is_some() && update.digest == action.digest;
    let Some(update) = state.update.filter(is_it) else { return };
    // An update that ended before the action is not the action's.
    if update.ended.is_some() && update.ended == action.ended_before {
        return;
    }
    let version = &update.version;
    let (milestone, finished, details) = match update.stage {
        Stage::Writing => return,
        Stage::Staged => {
            (Milestone::Staged, Finished::None, vec![format!("{version} is staged in the other slot")])
        }
        Stage::Applied => {
            (Milestone::Applied, Finished::None, vec![format!("{version} boots next, on trial")])
        }
        Stage::Testing => (Milestone::Testing, Finished::None, vec![testing(update)]),
        Stage::Committed => (Milestone::Closed, Finished::Success, vec![format!("{version} is committed")]),
        Stage::Failed => (Milestone::Closed, Finished::Failure, failed(update, state.failures)),
    };
    ledger.reached(milestone, state.now_ms, finished, details);
}

fn testing(update: &Update) -> String {
    match update.boots.last() {
        Some(boot) => format!("{} is on trial, try {} of {}", update.version, boot.attempt, update.tries),
        None => format!("{} is on trial", update.version),
    }
}

/// The reason, the phase, and the failed checks with their output.
fn failed(update: &Update, failures: &[Failure]) -> Vec<String> {
    let is_its = |failure: &&Failure| failure.digest == update.digest && failure.version == update.version;
    let record = failures.iter().rev().find(is_its);
    let (phase, reason, checks) = match (record, &update.verdict) {
        (Some(record), _) => (record.phase, record.reason.as_str(), record.checks.as_slice()),
        (None, Some(verdict)) => (verdict.phase, verdict.reason.as_str(), verdict.checks.as_slice()),
        (None, None) => return vec![format!("{} failed", update.version)],
    };
    let previous = update.previous.as_ref().and_then(|previous| previous.version.as_deref());
    let back = previous.map(|version| format!(" to {version}")).unwrap_or_default();
    let mut lines = vec![format!("{} was rolled back{back}: {reason}", update.version)];
    lines.push(format!("phase: {}", phase::word(phase)));
    for check in checks {
        lines.push(format!("check {}: {}", check.name, check.reason));
        lines.extend(check.output.lines().map(|line| format!("  {line}")));
    }
    lines
}

/// Answers a cancellation. `begun`: the update boots next or is on trial; then the cancellation is refused, and the
/// health checks decide.
pub fn answer_cancellation(ledger: &mut Ledger, action: &str, begun: bool, now_ms: i64) {
    let is_ours = ledger.action.as_ref().is_some_and(|current| current.id == action);
    let (execution, finished, details) = if is_ours && begun {
        let why = "too late to cancel: it boots next or is on trial; its health checks decide";
        (Execution::Rejected, Finished::None, why)
    } else {
        (Execution::Closed, Finished::Success, "canceled, not installed")
    };
    if is_ours && !begun {
        ledger.drop_action(action);
    }
    ledger.queue(Feedback {
        action: action.to_owned(),
        about: About::Cancel,
        time: now_ms,
        execution,
        finished,
        details: vec![details.to_owned()],
        failed: 0,
    });
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::agent::source::hawkbit::ledger::tests::ledger;

    fn update(stage: &str, more: &str) -> Update {
        serde_json::from_str(&format!(
            r#"{{"image_id":"edge","version":"2.0","digest":"d2","slot":"b","stage":"{stage}","tries":3,
               "previous":{{"slot":"a","entry":"edge_1.0.efi","version":"1.0"}}{more}}}"#
        ))
        .unwrap()
    }

    fn queued(ledger: &Ledger) -> Vec<(Execution, Finished)> {
        ledger.waiting.iter().map(|m| (m.execution, m.finished)).collect()
    }

    fn see(ledger: &mut Ledger, update: &Update, failures: &[Failure]) {
        queue_progress(ledger, UpdateState { update: Some(update), failures, now_ms: 7 });
    }

    #[test]
    fn success_is_reported_after_the_commit_and_not_before() {
        let mut ledger = ledger();
        for stage in ["writing", "staged", "applied", "testing"] {
            see(&mut ledger, &update(stage, ""), &[]);
            see(&mut ledger, &update(stage, ""), &[]);
        }
        assert_eq!(queued(&ledger), [(Execution::Proceeding, Finished::None); 3]);
        see(&mut ledger, &update("committed", r#","ended":"2026-01-01T00:00:00Z""#), &[]);
        assert_eq!(queued(&ledger).last(), Some(&(Execution::Closed, Finished::Success)));
        assert_eq!(ledger.action, None);
    }

    #[test]
    fn a_rollback_is_reported_with_reason_phase_and_checks() {
        let mut ledger = ledger();
        let failure: Failure = serde_json::from_str(
            r#"{"version":"2.0","digest":"d2","attempts":3,"phase":"checks","reason":"check 'app' failed","checks":
               [{"name":"app","reason":"app.service: failed","output":"no such file"}],"time":"2026-01-01T00:00:00Z"}"#,
        )
        .unwrap();
        see(&mut ledger, &update("failed", ""), &[failure]);
        let feedback = ledger.waiting.first().unwrap();
        assert_eq!((feedback.execution, feedback.finished), (Execution::Closed, Finished::Failure));
        let expected = [
            "2.0 was rolled back to 1.0: check 'app' failed",
            "phase: checks",
            "check app: app.service: failed",
            "  no such file",
        ];
        assert_eq!(feedback.details, expected);
    }

    #[test]
    fn an_update_that_ended_before_the_action_is_not_reported() {
        let ended = r#","ended":"2026-01-01T00:00:00Z""#;
        let mut ledger = ledger();
        ledger.action.as_mut().unwrap().ended_before = Some("2026-01-01T00:00:00Z".into());
        see(&mut ledger, &update("failed", ended), &[]);
        assert_eq!(queued(&ledger), []);
        see(&mut ledger, &update("failed", r#","ended":"2026-01-02T00:00:00Z""#), &[]);
        assert_eq!(queued(&ledger), [(Execution::Closed, Finished::Failure)]);
    }

    #[test]
    fn another_image_of_the_same_version_is_another_update() {
        let mut ledger = ledger();
        ledger.action.as_mut().unwrap().digest = Some("other".into());
        see(&mut ledger, &update("committed", ""), &[]);
        ledger.action.as_mut().unwrap().digest = None;
        see(&mut ledger, &update("committed", ""), &[]);
        assert_eq!(queued(&ledger), []);
    }

    #[test]
    fn a_cancellation_is_accepted_until_the_update_boots_next() {
        let mut early = ledger();
        early.waits("window", 1);
        answer_cancellation(&mut early, "8", false, 2);
        assert_eq!(early.action, None);
        assert_eq!(queued(&early), [(Execution::Closed, Finished::Success)]);
        assert_eq!(early.waiting.first().unwrap().about, About::Cancel);
        let mut late = ledger();
        answer_cancellation(&mut late, "8", true, 2);
        assert!(late.action.is_some());
        assert_eq!(queued(&late), [(Execution::Rejected, Finished::None)]);
        // An unknown action is canceled.
        answer_cancellation(&mut late, "9", true, 3);
        assert_eq!(queued(&late).last(), Some(&(Execution::Closed, Finished::Success)));
        assert!(late.action.is_some());
    }
}

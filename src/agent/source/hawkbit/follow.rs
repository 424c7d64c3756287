//! What the server is to hear of the action, out of where its update stands on this machine. Pure.
//!
//! Nothing is told for having been begun: what is told follows from what is there, so that a cut or a
//! reboot in between loses nothing. Success is told of a commit and of nothing before it.

use crate::agent::source::hawkbit::ledger::Ledger;
use crate::agent::source::hawkbit::message::{About, Execution, Finished, Message, Milestone};
use abide_core::state::{Failure, Stage, Update};

/// The machine, as far as it is told.
#[derive(Debug, Clone, Copy)]
pub struct Here<'a> {
    /// The update in flight, or the last one that came to its end.
    pub update: Option<&'a Update>,
    /// The images that failed.
    pub failures: &'a [Failure],
    /// Milliseconds since 1970.
    pub now_ms: i64,
}

/// Has the server told how far the action has come.
pub fn follow(ledger: &mut Ledger, here: Here<'_>) {
    let Some(task) = &ledger.task else { return };
    let is_it = |update: &&Update| task.digest.is_some() && update.digest == task.digest;
    let Some(update) = here.update.filter(is_it) else { return };
    // How it ended before it was ordered says nothing about the order.
    if update.ended.is_some() && update.ended == task.ended_before {
        return;
    }
    let version = &update.version;
    let (milestone, finished, details) = match update.stage {
        Stage::Writing => return,
        Stage::Staged => (Milestone::Staged, Finished::None, vec![format!("{version} is in the other slot")]),
        Stage::Applied => {
            (Milestone::Applied, Finished::None, vec![format!("{version} boots next, on trial")])
        }
        Stage::Testing => (Milestone::Testing, Finished::None, vec![testing(update)]),
        Stage::Committed => (Milestone::Closed, Finished::Success, vec![format!("{version} is committed")]),
        Stage::Failed => (Milestone::Closed, Finished::Failure, failed(update, here.failures)),
    };
    ledger.reached(milestone, here.now_ms, finished, details);
}

fn testing(update: &Update) -> String {
    match update.boots.last() {
        Some(boot) => format!("{} runs on trial, try {} of {}", update.version, boot.attempt, update.tries),
        None => format!("{} runs on trial", update.version),
    }
}

/// What happened, how far it came, and what the checks said.
fn failed(update: &Update, failures: &[Failure]) -> Vec<String> {
    let is_its = |failure: &&Failure| failure.digest == update.digest && failure.version == update.version;
    let record = failures.iter().rev().find(is_its);
    let (phase, reason, checks) = match (record, &update.verdict) {
        (Some(record), _) => (record.phase, record.reason.as_str(), record.checks.as_slice()),
        (None, Some(verdict)) => (verdict.phase, verdict.reason.as_str(), verdict.checks.as_slice()),
        (None, None) => return vec![format!("{} was given up", update.version)],
    };
    let previous = update.previous.as_ref().and_then(|previous| previous.version.as_deref());
    let back = previous.map(|version| format!(", back to {version}")).unwrap_or_default();
    let mut lines = vec![format!("{} was rolled back{back}: {reason}", update.version)];
    lines.push(format!("phase: {}", phase.as_str()));
    for check in checks {
        lines.push(format!("check {}: {}", check.name, check.reason));
        lines.extend(check.output.lines().map(|line| format!("  {line}")));
    }
    lines
}

/// Answers the wish to end an action. `begun`: its update boots next, or is on trial already: then it is
/// too late, and its health decides.
pub fn cancel(ledger: &mut Ledger, action: &str, begun: bool, now_ms: i64) {
    let is_ours = ledger.task.as_ref().is_some_and(|task| task.action == action);
    let (execution, finished, details) = match is_ours && begun {
        true => {
            let why = "too late: it is on trial, or boots next; its health decides";
            (Execution::Rejected, Finished::None, why)
        }
        false => (Execution::Closed, Finished::Success, "not installed"),
    };
    if is_ours && !begun {
        ledger.drop_action(action);
    }
    ledger.tell(Message {
        action: action.to_owned(),
        about: About::Cancel,
        time: now_ms,
        execution,
        finished,
        details: vec![details.to_owned()],
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

    fn told(ledger: &Ledger) -> Vec<(Execution, Finished)> {
        ledger.waiting.iter().map(|m| (m.execution, m.finished)).collect()
    }

    fn see(ledger: &mut Ledger, update: &Update, failures: &[Failure]) {
        follow(ledger, Here { update: Some(update), failures, now_ms: 7 });
    }

    #[test]
    fn success_is_told_of_the_commit_and_of_nothing_before_it() {
        let mut ledger = ledger();
        for stage in ["writing", "staged", "applied", "testing"] {
            see(&mut ledger, &update(stage, ""), &[]);
            see(&mut ledger, &update(stage, ""), &[]);
        }
        assert_eq!(told(&ledger), [(Execution::Proceeding, Finished::None); 3]);
        see(&mut ledger, &update("committed", r#","ended":"2026-01-01T00:00:00Z""#), &[]);
        assert_eq!(told(&ledger).last(), Some(&(Execution::Closed, Finished::Success)));
        assert_eq!(ledger.task, None);
    }

    #[test]
    fn a_rollback_is_told_with_its_reason_its_phase_and_the_checks() {
        let mut ledger = ledger();
        let failure: Failure = serde_json::from_str(
            r#"{"version":"2.0","digest":"d2","attempts":3,"phase":"checks","reason":"check 'app' failed","checks":
               [{"name":"app","reason":"app.service: failed","output":"no such file"}],"time":"2026-01-01T00:00:00Z"}"#,
        )
        .unwrap();
        see(&mut ledger, &update("failed", ""), &[failure]);
        let message = ledger.waiting.first().unwrap();
        assert_eq!((message.execution, message.finished), (Execution::Closed, Finished::Failure));
        let expected = [
            "2.0 was rolled back, back to 1.0: check 'app' failed",
            "phase: checks",
            "check app: app.service: failed",
            "  no such file",
        ];
        assert_eq!(message.details, expected);
    }

    #[test]
    fn what_ended_before_the_order_says_nothing_about_it() {
        let ended = r#","ended":"2026-01-01T00:00:00Z""#;
        let mut ledger = ledger();
        ledger.task.as_mut().unwrap().ended_before = Some("2026-01-01T00:00:00Z".into());
        see(&mut ledger, &update("failed", ended), &[]);
        assert_eq!(told(&ledger), []);
        see(&mut ledger, &update("failed", r#","ended":"2026-01-02T00:00:00Z""#), &[]);
        assert_eq!(told(&ledger), [(Execution::Closed, Finished::Failure)]);
    }

    #[test]
    fn another_image_of_the_same_version_is_another_update() {
        let mut ledger = ledger();
        ledger.task.as_mut().unwrap().digest = Some("other".into());
        see(&mut ledger, &update("committed", ""), &[]);
        ledger.task.as_mut().unwrap().digest = None;
        see(&mut ledger, &update("committed", ""), &[]);
        assert_eq!(told(&ledger), []);
    }

    #[test]
    fn a_cancel_is_honoured_until_the_update_boots_next() {
        let mut early = ledger();
        early.waits("window", 1);
        cancel(&mut early, "8", false, 2);
        assert_eq!(early.task, None);
        assert_eq!(told(&early), [(Execution::Closed, Finished::Success)]);
        assert_eq!(early.waiting.first().unwrap().about, About::Cancel);
        let mut late = ledger();
        cancel(&mut late, "8", true, 2);
        assert!(late.task.is_some());
        assert_eq!(told(&late), [(Execution::Rejected, Finished::None)]);
        // One that nobody here knows of is over.
        cancel(&mut late, "9", true, 3);
        assert_eq!(told(&late).last(), Some(&(Execution::Closed, Finished::Success)));
        assert!(late.task.is_some());
    }
}

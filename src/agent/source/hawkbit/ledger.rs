//! What is remembered of the server: the current action, and the feedback that is not delivered yet.
//!
//! Both are in one file that is replaced as a whole, so that a power cut never separates a decision from its
//! feedback. It preserves the action's id over the reboot into the new system.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::agent::source::hawkbit::ddi::{Handling, ServerWindow};
use crate::agent::source::hawkbit::feedback::{About, Execution, Feedback, Finished, Milestone};
use crate::feed::cache::{Cache, HAWKBIT};
use crate::feed::memory::{read_or_default, write_changed};
use crate::files::Access;
use abide_core::error::Result;
use abide_core::root::Root;
use abide_core::text;

/// The most items of feedback that wait. Beyond that the oldest that does not close an action is dropped.
const MAX_WAITING: usize = 64;

/// What is remembered.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Ledger {
    /// The current action.
    #[serde(rename = "task")]
    pub action: Option<Action>,
    /// Feedback that is not delivered yet, oldest first.
    pub waiting: Vec<Feedback>,
    /// The attributes that were sent last.
    pub attributes: BTreeMap<String, String>,
    /// The names of those that the server has refused.
    pub refused: BTreeSet<String>,
    /// The action whose list of digests could not be fetched so far.
    pub unread: Option<UnreadAction>,
    /// After how many seconds the server wants to be polled again.
    pub sleep: Option<u64>,
    /// The action that was denied last. The server asks for it at every poll, but is answered once.
    pub denied: Option<DeniedAction>,
    /// How often in a row the answer to a confirmation was not taken.
    pub unconfirmed: u32,
    /// When the attributes may be sent again to a server that was overloaded, in milliseconds since 1970.
    pub attributes_after: Option<i64>,
}

/// An action that this machine has not confirmed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeniedAction {
    /// Its id.
    pub action: String,
    /// The reason.
    pub why: String,
}

/// An action whose list of digests could not be fetched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnreadAction {
    /// Its id.
    pub action: String,
    /// How often that failed.
    pub tries: u32,
}

/// An action.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Action {
    /// Its id.
    #[serde(rename = "action")]
    pub id: String,
    /// The URL of its description. It changes with the description, and the server logs each request for it.
    pub url: String,
    /// The version of its software module.
    pub version: String,
    /// The digest of its release, once that is known. It distinguishes this update from an earlier one of the same
    /// version.
    pub digest: Option<String>,
    /// Its files, by name.
    pub files: BTreeMap<String, ActionFile>,
    /// How to handle the download.
    pub download: Handling,
    /// How to handle the installation.
    pub update: Handling,
    /// The server's maintenance window, where the action has one.
    pub window: Option<ServerWindow>,
    /// The last milestone that was reported.
    #[serde(rename = "told")]
    pub reported: Option<Milestone>,
    /// The last reported reason of waiting.
    pub waits: Option<String>,
    /// When the update before this action ended, as the state has it.
    pub ended_before: Option<String>,
}

/// A file of an action.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActionFile {
    /// Its URL.
    pub url: String,
    /// The SHA-256 that the server gives. Not read, but earlier versions of Abide, to which a rollback may lead, take a
    /// ledger without it for a damaged one.
    pub sha256: String,
    /// Its size in bytes.
    pub size: u64,
}

impl Ledger {
    /// The ledger of `root`. A damaged one counts as a missing one: the server repeats the action.
    #[must_use]
    pub fn read(root: &Root) -> Self {
        read_or_default(&file(root))
    }

    /// Writes it, unless it is unchanged.
    ///
    /// # Errors
    /// [`abide_core::error::Error::Failed`] if it cannot be written.
    pub fn write(&self, root: &Root) -> Result<()> {
        // The URLs of artifacts may be signed ones, with which anybody can fetch them.
        write_changed(&file(root), self, Access::Owner)
    }

    /// Queues the feedback that the action has reached a milestone, unless that milestone or a later one was
    /// reported. [`Milestone::Closed`] finishes the action.
    pub fn reached(&mut self, milestone: Milestone, now_ms: i64, finished: Finished, details: Vec<String>) {
        let Some(current) = &mut self.action else { return };
        if current.reported.is_some_and(|reported| reported >= milestone) {
            return;
        }
        current.reported = Some(milestone);
        current.waits = None;
        let execution = match milestone {
            Milestone::Downloading => Execution::Download,
            Milestone::Downloaded => Execution::Downloaded,
            Milestone::Closed => Execution::Closed,
            _ => Execution::Proceeding,
        };
        let action = current.id.clone();
        if milestone == Milestone::Closed {
            self.action = None;
        }
        self.queue(of_deployment(action, now_ms, execution, finished, details));
    }

    /// Queues the feedback that an action is refused that was never accepted.
    pub fn refuse(&mut self, action: &str, why: &str, now_ms: i64) {
        self.unread = None;
        let details = vec![why.to_owned()];
        self.queue(of_deployment(action.to_owned(), now_ms, Execution::Closed, Finished::Failure, details));
    }

    /// Whether this machine has closed the action, and the server does not know that yet.
    pub fn has_closed(&self, action: &str) -> bool {
        self.waiting.iter().any(|feedback| feedback.action == action && feedback.closes())
    }

    /// Counts a failed attempt to fetch the list of digests of an action; returns how many there were.
    pub fn count_unread(&mut self, action: &str) -> u32 {
        let before =
            self.unread.take().filter(|unread| unread.action == action).map_or(0, |unread| unread.tries);
        let tries = before.saturating_add(1);
        self.unread = Some(UnreadAction { action: action.to_owned(), tries });
        tries
    }

    /// Queues the feedback that the action waits, unless this reason was reported last. An update that boots next or
    /// is on trial does not wait.
    pub fn waits(&mut self, why: &str, now_ms: i64) {
        let Some(current) = &mut self.action else { return };
        let is_applied = current.reported.is_some_and(|reported| reported >= Milestone::Applied);
        if is_applied || current.waits.as_deref() == Some(why) {
            return;
        }
        current.waits = Some(why.to_owned());
        let (action, details) = (current.id.clone(), vec![why.to_owned()]);
        self.queue(of_deployment(action, now_ms, Execution::Scheduled, Finished::None, details));
    }

    /// Queues feedback. What closes an action replaces what was not delivered of its course: it must not wait behind
    /// that, and a server may open the action again for what arrives after it. A later answer replaces an earlier one to
    /// the same question.
    pub fn queue(&mut self, mut feedback: Feedback) {
        feedback.details.iter_mut().for_each(|detail| *detail = text::lines(detail));
        let is_same = |other: &Feedback| (&other.action, other.about) == (&feedback.action, feedback.about);
        if feedback.is_answer() {
            self.waiting.retain(|other| !(other.is_answer() && is_same(other)));
        }
        if feedback.closes() {
            self.waiting.retain(|other| other.action != feedback.action || other.is_answer());
        }
        // Answers first, each kind in its order.
        let at = self.waiting.iter().position(|other| feedback.is_answer() && !other.is_answer());
        self.waiting.insert(at.unwrap_or(self.waiting.len()), feedback);
        while self.waiting.len() > MAX_WAITING {
            let droppable = self.waiting.iter().position(|m| !m.is_answer()).unwrap_or(0);
            self.waiting.remove(droppable);
        }
    }

    /// Removes feedback that was delivered or is not wanted.
    pub fn remove(&mut self, feedback: &Feedback) {
        if let Some(at) = self.waiting.iter().position(|other| other == feedback) {
            self.waiting.remove(at);
        }
    }

    /// Counts a delivery that failed.
    pub fn count_failed(&mut self, feedback: &Feedback) {
        if let Some(failed) = self.waiting.iter_mut().find(|other| *other == feedback) {
            failed.failed = failed.failed.saturating_add(1);
        }
    }

    /// Drops an action and its feedback.
    pub fn drop_action(&mut self, action: &str) {
        self.waiting.retain(|feedback| feedback.action != action);
        if self.action.as_ref().is_some_and(|current| current.id == action) {
            self.action = None;
        }
    }
}

fn of_deployment(
    action: String,
    time: i64,
    execution: Execution,
    finished: Finished,
    details: Vec<String>,
) -> Feedback {
    Feedback { action, about: About::Deployment, time, execution, finished, details, failed: 0 }
}

/// In the cache, so that the unprivileged part can write it.
fn file(root: &Root) -> PathBuf {
    Cache::of(root).dir().join(HAWKBIT)
}

#[cfg(test)]
pub(super) mod tests {
    #![allow(clippy::unwrap_used)]
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    pub(crate) fn ledger() -> Ledger {
        let action = Action {
            id: "8".into(),
            url: String::new(),
            version: "2.0".into(),
            digest: Some("d2".into()),
            files: BTreeMap::new(),
            download: Handling::Forced,
            update: Handling::Forced,
            window: None,
            reported: None,
            waits: None,
            ended_before: None,
        };
        Ledger { action: Some(action), ..Ledger::default() }
    }

    #[test]
    fn a_milestone_is_reported_once_and_none_after_a_later_one() {
        let mut ledger = ledger();
        let milestones = [
            Milestone::Accepted,
            Milestone::Accepted,
            Milestone::Staged,
            Milestone::Downloaded,
            Milestone::Testing,
        ];
        for (time, milestone) in (0..).zip(milestones) {
            ledger.reached(milestone, time, Finished::None, vec![]);
        }
        assert_eq!(ledger.waiting.iter().map(|m| m.time).collect::<Vec<_>>(), [0, 2, 4]);
    }

    #[test]
    fn a_finished_action_leaves_its_closing_feedback() {
        let mut ledger = ledger();
        ledger.reached(Milestone::Closed, 1, Finished::Success, vec![]);
        assert_eq!(ledger.action, None);
        assert!(ledger.waiting.iter().all(Feedback::closes));
        ledger.reached(Milestone::Closed, 1, Finished::Success, vec![]);
        assert_eq!(ledger.waiting.len(), 1);
    }

    #[test]
    fn the_answer_goes_first_and_drops_the_course_of_its_action() {
        let mut ledger = ledger();
        let mut other = ledger.action.clone().unwrap();
        ledger.reached(Milestone::Accepted, 0, Finished::None, vec![]);
        ledger.reached(Milestone::Closed, 1, Finished::Failure, vec![]);
        other.id = "9".into();
        ledger.action = Some(other);
        ledger.reached(Milestone::Accepted, 2, Finished::None, vec![]);
        ledger.refuse("10", "no SHA-256", 3);
        let queued: Vec<(&str, i64)> = ledger.waiting.iter().map(|m| (m.action.as_str(), m.time)).collect();
        assert_eq!(queued, [("8", 1), ("10", 3), ("9", 2)]);
        assert!(ledger.has_closed("8") && ledger.has_closed("10") && !ledger.has_closed("9"));
    }

    #[test]
    fn an_answer_waits_once_however_often_the_server_asks() {
        let mut ledger = ledger();
        for (time, execution) in [(1, Execution::Rejected), (2, Execution::Closed), (3, Execution::Closed)] {
            let answer = of_deployment("8".into(), time, execution, Finished::Success, vec![]);
            ledger.queue(Feedback { about: About::Cancel, ..answer });
        }
        ledger.refuse("8", "no SHA-256", 4);
        let queued: Vec<(About, i64)> = ledger.waiting.iter().map(|m| (m.about, m.time)).collect();
        assert_eq!(queued, [(About::Cancel, 3), (About::Deployment, 4)]);
    }

    #[test]
    fn failed_attempts_are_counted_for_each_action() {
        let mut ledger = ledger();
        assert_eq!([ledger.count_unread("8"), ledger.count_unread("8"), ledger.count_unread("9")], [1, 2, 1]);
        ledger.refuse("9", "gone", 0);
        assert_eq!(ledger.unread, None);
    }

    #[test]
    fn each_reason_of_waiting_is_reported_once() {
        let mut ledger = ledger();
        for why in ["window", "window", "lock", "lock"] {
            ledger.waits(why, 1);
        }
        let reasons: Vec<&str> = ledger.waiting.iter().flat_map(|m| &m.details).map(String::as_str).collect();
        assert_eq!(reasons, ["window", "lock"]);
    }

    #[test]
    fn closing_feedback_is_never_dropped() {
        let mut ledger = ledger();
        ledger.reached(Milestone::Closed, 0, Finished::Failure, vec![]);
        for number in 0..100 {
            ledger.action.clone_from(&self::ledger().action);
            ledger.waits(&number.to_string(), number);
        }
        assert_eq!(ledger.waiting.len(), MAX_WAITING);
        assert!(ledger.waiting.first().unwrap().closes());
        assert_eq!(ledger.waiting.last().unwrap().time, 99);
    }

    #[test]
    fn a_ledger_can_be_read_by_the_versions_around_this_one() {
        // As 0.1 had it at first; all of its keys are needed there.
        let file = r#"{"url":"http://h/a","sha256":"ab","size":7}"#;
        let action = format!(
            r#"{{"action":"8","url":"","version":"2.0","digest":null,"files":{{"a":{file}}},"download":"forced",
               "update":"skip","window":null,"told":"accepted","waits":null,"ended_before":null}}"#
        );
        let feedback = r#"{"action":"7","about":"deployment","time":1,"execution":"closed","finished":"success",
               "details":["x"]}"#;
        let text = format!(
            r#"{{"task":{action},"waiting":[{feedback}],"attributes":{{}},"sleep":1,"denied":null}}"#
        );
        let ledger: Ledger = serde_json::from_str(&text).unwrap();
        let written = serde_json::to_value(&ledger).unwrap();
        let earlier: serde_json::Value = serde_json::from_str(&text).unwrap();
        for key in ["task", "attributes", "sleep", "denied"] {
            assert_eq!(written.get(key), earlier.get(key), "{key}");
        }
        let waiting = |ledger: &serde_json::Value| ledger.pointer("/waiting/0").cloned().unwrap();
        for (key, value) in waiting(&earlier).as_object().unwrap() {
            assert_eq!(waiting(&written).get(key), Some(value), "{key}");
        }
    }

    #[test]
    fn a_damaged_ledger_counts_as_a_missing_one() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::at(dir.path());
        assert_eq!(Ledger::read(&root), Ledger::default());
        let mut ledger = ledger();
        ledger.waits("window", 1);
        ledger.write(&root).unwrap();
        // Its URLs may be signed.
        let mode = fs::metadata(file(&root)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(Ledger::read(&root), ledger);
        fs::write(file(&root), "{").unwrap();
        assert_eq!(Ledger::read(&root), Ledger::default());
    }
}

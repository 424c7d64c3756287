//! What is remembered of the server: the action that is under way, and what it was not told yet.
//!
//! Both are in one file that is replaced as a whole, so that a cut never separates what was decided from
//! what is to be told about it. The action's id outlives the reboot into the new system in it.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use log::warn;
use serde::{Deserialize, Serialize};

use crate::agent::source::hawkbit::ddi::{Handling, Window};
use crate::agent::source::hawkbit::message::{About, Execution, Finished, Message, Milestone};
use abide_core::error::{OrError, Result};
use abide_core::root::Root;

/// Beside what was fetched; it belongs to whoever fetches.
const FILE: &str = "/var/lib/abide/feed/hawkbit.json";

/// More messages do not wait: the oldest that end no action go first.
const MOST_WAITING: usize = 64;

/// What is remembered.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Ledger {
    /// The action that is under way.
    pub task: Option<Task>,
    /// What the server was not told yet, the oldest first.
    pub waiting: Vec<Message>,
    /// The attributes that the server was told last.
    pub attributes: BTreeMap<String, String>,
    /// After how many seconds the server wants to be asked again.
    pub sleep: Option<u64>,
    /// What was denied last: the server asks for it again and again, and is told once.
    pub denied: Option<Denied>,
}

/// An action that this machine did not agree to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Denied {
    /// Its id.
    pub action: String,
    /// Why not.
    pub why: String,
}

/// An action.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Task {
    /// Its id.
    pub action: String,
    /// Where the server says what it is. That URL changes with what it says, and asking for it is noted.
    pub url: String,
    /// The version that it installs, as the server calls it.
    pub version: String,
    /// SHA-256 of what it installs, once that is known: by it a failure record is told from an older one
    /// of the same version.
    pub digest: Option<String>,
    /// Its files and where they are.
    pub files: BTreeMap<String, File>,
    /// How the download is to be treated.
    pub download: Handling,
    /// How the installation is to be treated.
    pub update: Handling,
    /// The server's maintenance window, where the action has one.
    pub window: Option<Window>,
    /// How far it has come, as far as the server was told.
    pub told: Option<Milestone>,
    /// Why it waits, as the server was told last.
    pub waits: Option<String>,
    /// When the last update had come to its end before this was ordered, as the state has it.
    pub ended_before: Option<String>,
}

/// A file of an action.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct File {
    /// Where it is.
    pub url: String,
    /// SHA-256, as the server says.
    pub sha256: String,
    /// Bytes, as the server says.
    pub size: u64,
}

impl Ledger {
    /// What is remembered on `root`. What cannot be understood is nothing: the server is asked anew.
    #[must_use]
    pub fn read(root: &Root) -> Self {
        let path = path(root);
        let Ok(bytes) = fs::read(&path) else { return Self::default() };
        serde_json::from_slice(&bytes).unwrap_or_else(|e| {
            warn!("{}: not understood ({e}); beginning anew", path.display());
            Self::default()
        })
    }

    /// Remembers it; writes nothing if it is remembered already.
    ///
    /// # Errors
    /// [`abide_core::error::Error::Failed`] if it cannot be written.
    pub fn write(&self, root: &Root) -> Result<()> {
        if Self::read(root) == *self {
            return Ok(());
        }
        let path = path(root);
        let bytes = serde_json::to_vec(self).or_failed(|| format!("{}: cannot encode", path.display()))?;
        abide_core::files::replace(&path, &bytes)
    }

    /// Has the server told that the task has come so far. What it was told before is not told again, nor
    /// what is less. With [`Milestone::Closed`] the task is over.
    pub fn reached(&mut self, milestone: Milestone, now_ms: i64, finished: Finished, details: Vec<String>) {
        let Some(task) = &mut self.task else { return };
        if task.told.is_some_and(|told| told >= milestone) {
            return;
        }
        task.told = Some(milestone);
        task.waits = None;
        let execution = match milestone {
            Milestone::Downloading => Execution::Download,
            Milestone::Downloaded => Execution::Downloaded,
            Milestone::Closed => Execution::Closed,
            _ => Execution::Proceeding,
        };
        let action = task.action.clone();
        if milestone == Milestone::Closed {
            self.task = None;
        }
        self.tell(Message { action, about: About::Deployment, time: now_ms, execution, finished, details });
    }

    /// Has the server told why the task waits, if it was not. One that boots next, or runs on trial, waits
    /// for nothing else.
    pub fn waits(&mut self, why: &str, now_ms: i64) {
        let Some(task) = &mut self.task else { return };
        let is_on_its_way = task.told.is_some_and(|told| told >= Milestone::Applied);
        if is_on_its_way || task.waits.as_deref() == Some(why) {
            return;
        }
        task.waits = Some(why.to_owned());
        let (action, details) = (task.action.clone(), vec![why.to_owned()]);
        self.tell(Message {
            action,
            about: About::Deployment,
            time: now_ms,
            execution: Execution::Scheduled,
            finished: Finished::None,
            details,
        });
    }

    /// Has the server told this after all that it was not told yet.
    pub fn tell(&mut self, message: Message) {
        self.waiting.push(message);
        while self.waiting.len() > MOST_WAITING {
            let dispensable = self.waiting.iter().position(|m| !m.closes()).unwrap_or(0);
            self.waiting.remove(dispensable);
        }
    }

    /// Nothing more is told about this action: the server does not want to hear it.
    pub fn drop_action(&mut self, action: &str) {
        self.waiting.retain(|message| message.action != action);
        if self.task.as_ref().is_some_and(|task| task.action == action) {
            self.task = None;
        }
    }
}

fn path(root: &Root) -> PathBuf {
    root.path(FILE)
}

#[cfg(test)]
pub(super) mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    pub(crate) fn ledger() -> Ledger {
        let task = Task {
            action: "8".into(),
            url: String::new(),
            version: "2.0".into(),
            digest: Some("d2".into()),
            files: BTreeMap::new(),
            download: Handling::Forced,
            update: Handling::Forced,
            window: None,
            told: None,
            waits: None,
            ended_before: None,
        };
        Ledger { task: Some(task), ..Ledger::default() }
    }

    #[test]
    fn what_was_told_is_not_told_again_nor_what_is_less() {
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
    fn with_its_end_the_task_is_over_but_the_server_still_hears_of_it() {
        let mut ledger = ledger();
        ledger.reached(Milestone::Closed, 1, Finished::Success, vec![]);
        assert_eq!(ledger.task, None);
        assert!(ledger.waiting.iter().all(Message::closes));
        ledger.reached(Milestone::Closed, 1, Finished::Success, vec![]);
        assert_eq!(ledger.waiting.len(), 1);
    }

    #[test]
    fn why_it_waits_is_told_once_for_each_reason() {
        let mut ledger = ledger();
        for why in ["window", "window", "turn", "turn"] {
            ledger.waits(why, 1);
        }
        let told: Vec<&str> = ledger.waiting.iter().flat_map(|m| &m.details).map(String::as_str).collect();
        assert_eq!(told, ["window", "turn"]);
    }

    #[test]
    fn of_too_many_messages_those_that_end_an_action_are_kept() {
        let mut ledger = ledger();
        ledger.reached(Milestone::Closed, 0, Finished::Failure, vec![]);
        for number in 0..100 {
            ledger.task.clone_from(&self::ledger().task);
            ledger.waits(&number.to_string(), number);
        }
        assert_eq!(ledger.waiting.len(), MOST_WAITING);
        assert!(ledger.waiting.first().unwrap().closes());
        assert_eq!(ledger.waiting.last().unwrap().time, 99);
    }

    #[test]
    fn what_was_written_is_read_again_and_rubbish_is_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::at(dir.path());
        assert_eq!(Ledger::read(&root), Ledger::default());
        let mut ledger = ledger();
        ledger.waits("window", 1);
        ledger.write(&root).unwrap();
        assert_eq!(Ledger::read(&root), ledger);
        fs::write(root.path(FILE), "{").unwrap();
        assert_eq!(Ledger::read(&root), Ledger::default());
    }
}

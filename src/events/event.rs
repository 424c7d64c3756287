//! Events: each change of state of an update.

use std::fs;

use serde::Serialize;

use crate::machine_id;
use crate::update::phase;
use abide_core::root::Root;
use abide_core::state::boot_note::boot_id;
use abide_core::state::{FailedCheck, Failure, Phase, Update, Verdict};
use abide_core::text;
use abide_core::update::clock;

/// The kinds of event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum EventKind {
    /// Written into the other slot and verified.
    Staged,
    /// Boots next, on trial.
    Applied,
    /// Runs on trial.
    Testing,
    /// Committed.
    Committed,
    /// This boot of it failed; given up, or to be tried again.
    Failed,
    /// The previous system runs again.
    RolledBack,
    /// It was committed before, and is not healthy now.
    Unhealthy,
    /// It is to be installed, and waits for something.
    Deferred,
    /// The last key that can sign an update expires soon.
    KeyExpires,
}

impl EventKind {
    /// The word for machines.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Staged => "staged",
            Self::Applied => "applied",
            Self::Testing => "testing",
            Self::Committed => "committed",
            Self::Failed => "failed",
            Self::RolledBack => "rolled-back",
            Self::Unhealthy => "unhealthy",
            Self::Deferred => "deferred",
            Self::KeyExpires => "key-expires",
        }
    }

    /// The journal's `MESSAGE_ID`: stable, and part of the contract (docs/reference/events.md).
    #[must_use]
    pub fn message_id(self) -> &'static str {
        match self {
            Self::Staged => "417a7d8743c9400f8975a25aab80fba5",
            Self::Applied => "11386c73e2c9423ab95717442cb2bf8c",
            Self::Testing => "08213e007dec4393b9ff9f21752c883c",
            Self::Committed => "cfdee54fa8374787b5afe87080e6720a",
            Self::Failed => "484ceb0495514f5a905caa8aff16a17e",
            Self::RolledBack => "8325dedacdb048019cc2dd07c4574613",
            Self::Unhealthy => "cd51fd21f85f4916b671009a08c8dfdb",
            Self::Deferred => "9c9b8a0253ea4d6d94882973a214d73f",
            Self::KeyExpires => "009336f2745b45c1bfea736c62afacb6",
        }
    }

    /// EVE's BaseOsStatus and BaseOsSubStatus.
    fn eve(self) -> (&'static str, &'static str) {
        match self {
            Self::Staged => ("DOWNLOAD_DONE", "NONE"),
            Self::Applied => ("UPDATING", "UPDATE_REBOOTING"),
            Self::Testing => ("UPDATING", "UPDATE_TESTING"),
            Self::Deferred => ("UPDATING", "UPDATE_DEFERRED"),
            Self::Committed | Self::Unhealthy | Self::KeyExpires => ("UPDATED", "NONE"),
            Self::Failed | Self::RolledBack => ("FAILED", "NONE"),
        }
    }

    /// As in syslog(3): a failure is an error, the rest are notices.
    fn priority(self) -> &'static str {
        match self {
            Self::Failed | Self::RolledBack | Self::Unhealthy => "3",
            Self::KeyExpires => "4",
            Self::Staged | Self::Applied | Self::Testing | Self::Committed | Self::Deferred => "5",
        }
    }
}

/// One change of state. Its JSON form is what is posted; fields are added, never renamed or dropped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Event {
    /// Version of this format.
    pub schema: u32,
    /// What happened.
    pub event: EventKind,
    /// When, RFC 3339 UTC by the machine's clock.
    pub time: String,
    /// The machine's host name.
    pub host: String,
    /// An id of this machine: derived from its machine id, which is not sent.
    pub machine: String,
    /// The kernel's id of this boot.
    pub boot: String,
    /// The update's version.
    pub version: String,
    /// SHA-256 of its image, where it is known.
    pub digest: Option<String>,
    /// The version of the committed system in the other slot.
    pub previous: Option<String>,
    /// Which try, from 1; of a failure: how many there were.
    pub attempt: Option<u32>,
    /// How many tries it has.
    pub attempts: Option<u32>,
    /// How far it came; of a failure.
    pub phase: Option<Phase>,
    /// Why, in one sentence; of a failure.
    pub reason: String,
    /// The checks that failed.
    pub checks: Vec<FailedCheck>,
    /// EVE's BaseOsStatus.
    pub user_status: &'static str,
    /// EVE's BaseOsSubStatus.
    pub sub_status: &'static str,
}

impl Event {
    /// An event of `update`, now.
    #[must_use]
    pub fn of_update(root: &Root, event: EventKind, update: &Update) -> Self {
        Self {
            digest: update.digest.clone(),
            previous: update.previous.as_ref().and_then(|p| p.version.clone()),
            attempt: update.boots.last().map(|b| b.attempt),
            attempts: (update.tries > 0).then_some(update.tries),
            ..Self::of_running(root, event, &update.version)
        }
    }

    /// An event of the committed system that runs.
    #[must_use]
    pub fn of_running(root: &Root, event: EventKind, version: &str) -> Self {
        let (user_status, sub_status) = event.eve();
        Self {
            schema: 1,
            event,
            time: clock::now(),
            host: read(root, "/proc/sys/kernel/hostname"),
            machine: machine_id::derived(root),
            boot: boot_id(root),
            version: version.to_owned(),
            digest: None,
            previous: None,
            attempt: None,
            attempts: None,
            phase: None,
            reason: String::new(),
            checks: vec![],
            user_status,
            sub_status,
        }
    }

    /// As it is published: the reason of a verdict may come straight from the kernel's log, a version from a boot entry.
    #[must_use]
    pub fn printable(self) -> Self {
        let check = |check: FailedCheck| FailedCheck {
            name: text::line(&check.name),
            reason: text::line(&check.reason),
            output: text::lines(&check.output),
        };
        Self {
            host: text::line(&self.host),
            version: text::line(&self.version),
            previous: self.previous.as_deref().map(text::line),
            reason: text::line(&self.reason),
            checks: self.checks.into_iter().map(check).collect(),
            ..self
        }
    }

    /// Adds the verdict that ended a failed boot.
    #[must_use]
    pub fn because(self, verdict: &Verdict) -> Self {
        Self {
            phase: Some(verdict.phase),
            reason: verdict.reason.clone(),
            checks: verdict.checks.clone(),
            ..self
        }
    }

    /// Adds the data of the failure record.
    #[must_use]
    pub fn with_record(self, failure: &Failure) -> Self {
        Self {
            attempt: Some(failure.attempts),
            phase: Some(failure.phase),
            reason: failure.reason.clone(),
            checks: failure.checks.clone(),
            ..self
        }
    }

    /// `rolled back from 3.0 to 2.0: check 'uplink' failed: no default route`
    #[must_use]
    pub fn sentence(&self) -> String {
        let version = &self.version;
        let previous = self.previous.as_deref().unwrap_or("the previous system");
        match self.event {
            EventKind::Staged => format!("{version} is staged"),
            EventKind::Applied => format!("{version} boots next, on trial"),
            EventKind::Testing => match (self.attempt, self.attempts) {
                (Some(n), Some(of)) => format!("{version} is on trial, try {n} of {of}"),
                _ => format!("{version} is on trial"),
            },
            EventKind::Committed => format!("{version} is committed"),
            EventKind::Failed => format!("the trial of {version} has failed: {}", self.why()),
            EventKind::Unhealthy => format!("{version} is committed, but not healthy: {}", self.why()),
            EventKind::Deferred => format!("{version} is not installed yet: {}", self.why()),
            EventKind::KeyExpires => self.why(),
            EventKind::RolledBack => format!("rolled back from {version} to {previous}: {}", self.why()),
        }
    }

    fn why(&self) -> String {
        match self.checks.first() {
            Some(check) if self.reason.contains(&format!("check '{}'", check.name)) => {
                format!("check '{}' failed: {}", check.name, check.reason)
            }
            _ => self.reason.clone(),
        }
    }

    /// The fields of its journal entry.
    #[must_use]
    pub fn fields(&self) -> Vec<(&'static str, String)> {
        let mut fields = vec![
            ("MESSAGE", self.sentence()),
            ("MESSAGE_ID", self.event.message_id().to_owned()),
            ("PRIORITY", self.event.priority().to_owned()),
            ("SYSLOG_IDENTIFIER", "abide".to_owned()),
            ("ABIDE_EVENT", self.event.as_str().to_owned()),
            ("ABIDE_VERSION", self.version.clone()),
        ];
        let optional = [
            ("ABIDE_DIGEST", self.digest.clone()),
            ("ABIDE_PREVIOUS_VERSION", self.previous.clone()),
            ("ABIDE_ATTEMPT", self.attempt.map(|n| n.to_string())),
            ("ABIDE_ATTEMPTS", self.attempts.map(|n| n.to_string())),
            ("ABIDE_PHASE", self.phase.map(|p| phase::word(p).to_owned())),
            ("ABIDE_REASON", Some(self.reason.clone()).filter(|r| !r.is_empty())),
        ];
        fields.extend(optional.into_iter().filter_map(|(name, value)| Some((name, value?))));
        fields.extend(self.checks.iter().map(|check| ("ABIDE_CHECK", check.name.clone())));
        fields
    }
}

fn read(root: &Root, path: &str) -> String {
    fs::read_to_string(root.path(path)).map(|t| t.trim().to_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn event(kind: EventKind) -> Event {
        let update: Update = serde_json::from_str(
            r#"{"image_id":"edge","version":"3.0","slot":"b","stage":"testing","tries":3,
                "previous":{"slot":"a","entry":"edge_2.0.efi","version":"2.0"}}"#,
        )
        .unwrap();
        Event::of_update(&Root::at("/nonexistent"), kind, &update)
    }

    fn verdict(reason: &str) -> Verdict {
        let check =
            FailedCheck { name: "uplink".into(), reason: "no default route".into(), output: String::new() };
        Verdict { phase: Phase::Checks, reason: reason.into(), checks: vec![check] }
    }

    #[test]
    fn a_rollback_is_told_in_one_sentence() {
        let told = event(EventKind::RolledBack).because(&verdict("check 'uplink': no default route"));
        assert_eq!(told.sentence(), "rolled back from 3.0 to 2.0: check 'uplink' failed: no default route");
        let told = event(EventKind::RolledBack)
            .because(&verdict("3 tries used up: no report came from its initramfs"));
        assert_eq!(
            told.sentence(),
            "rolled back from 3.0 to 2.0: 3 tries used up: no report came from its initramfs"
        );
    }

    #[test]
    fn a_failure_has_its_fields_in_the_journal() {
        let fields = event(EventKind::Failed).because(&verdict("x")).fields();
        let get = |name| fields.iter().find(|(n, _)| *n == name).map(|(_, v)| v.as_str());
        assert_eq!(get("MESSAGE_ID"), Some("484ceb0495514f5a905caa8aff16a17e"));
        assert_eq!(get("PRIORITY"), Some("3"));
        assert_eq!(get("ABIDE_CHECK"), Some("uplink"));
        assert_eq!(get("ABIDE_PREVIOUS_VERSION"), Some("2.0"));
        assert_eq!(get("ABIDE_DIGEST"), None);
    }
}

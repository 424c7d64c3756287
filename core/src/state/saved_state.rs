//! The state that is kept on the ESP: its fields, which serde writes as JSON. Header, checksum and format of
//! the files are in [`super::state_file`].

use serde::{Deserialize, Serialize};

use crate::disk::SlotName;
use crate::state::bounds::{MAX_FAILURES, kept_word};
use crate::state::reboots::Reboots;
use crate::text;

/// Everything Abide remembers on the ESP.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct State {
    /// The update in flight, or the last one that ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub update: Option<Update>,
    /// Images that failed, the newest last.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub failures: Vec<Failure>,
    /// What slot `a` is known to hold.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub a: Option<Installed>,
    /// What slot `b` is known to hold.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub b: Option<Installed>,
    /// The baseline of the last committed system, for checks that compare with it.
    pub baseline: Baseline,
    /// Committed systems that were not healthy later, and what was done about it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unhealthy: Vec<Unhealthy>,
    /// The newest list of each folder of images that was accepted, so that an older one is refused; the newest last.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub lists: Vec<SeenList>,
    /// The lowest version that may be installed, as the committed images have demanded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub floor: Option<String>,
    /// Id of the entry that another tool has applied and whose commit has begun.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub takeover: Option<String>,
}

/// A list of images that was accepted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SeenList {
    /// Where it came from: a URL or a path.
    pub name: String,
    /// The name that the publisher gave the feed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub feed: Option<String>,
    /// The publisher's number of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub serial: Option<u64>,
    /// When it was signed, in seconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signed: Option<u64>,
}

/// A committed system that was not healthy when it was booted last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unhealthy {
    /// Id of its boot entry.
    pub entry: String,
    /// The last thing that was tried.
    pub tried: Remedy,
    /// One sentence for people.
    #[serde(deserialize_with = "text::read_line")]
    pub reason: String,
    /// RFC 3339 UTC, by the machine's clock.
    pub time: String,
    /// Names of the checks that had not passed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub checks: Vec<String>,
}

/// What may help a committed system that is not healthy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Remedy {
    /// To boot it again.
    Reboot,
    /// To go to the other system.
    Leave,
}

/// A committed system in a slot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Installed {
    /// The image's version.
    #[serde(deserialize_with = "text::read_line")]
    pub version: String,
    /// SHA-256 of the published image, where it was Abide that wrote it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// Id of its boot entry. After a downgrade its file name may have `+0-0` although the entry is good: only
    /// this record shows that.
    pub entry: String,
    /// What vouched for the image when it was written, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verified: Option<String>,
    /// As [`Update::unversioned`].
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unversioned: bool,
}

/// What passed and what had already failed on the last committed boot.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Baseline {
    /// Names of the checks that passed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub passed_checks: Vec<String>,
    /// Units that were in the failed state.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub failed_units: Vec<String>,
}

/// The stage of an update.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// The target slot is being overwritten; its content is undefined.
    Writing,
    /// Written and verified, not bootable.
    Staged,
    /// Bootable, on trial from the next boot.
    Applied,
    /// Booted at least once, being assessed.
    Testing,
    /// Committed.
    Committed,
    /// Given up.
    Failed,
}

/// How far a boot got; ordered from the first to the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// The boot loader selected the entry; nothing was recorded after that.
    Loader,
    /// The initramfs stage ran.
    Initramfs,
    /// The root was mounted and verified; the switch to it was next.
    SwitchRoot,
    /// The new system's own user space ran.
    Userspace,
    /// The health checks ran.
    Checks,
}

/// An update: one image and its progress.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Update {
    /// `IMAGE_ID` (else `ID`) of the image.
    #[serde(deserialize_with = "text::read_line")]
    pub image_id: String,
    /// `IMAGE_VERSION` (else `VERSION_ID`) of the image.
    #[serde(deserialize_with = "text::read_line")]
    pub version: String,
    /// SHA-256 of the published image; none when a system that was there before is tried again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// The slot it is written to.
    pub slot: SlotName,
    /// How far it has come. What is on the disk may be one step ahead or behind
    /// after a power cut; `reconcile` finds out.
    pub stage: Stage,
    /// The staged UKI.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uki: Option<Uki>,
    /// The word of the UKI's command line that names its root, as
    /// [`crate::disk::RootArg`] writes it; by it a boot of the image is recognised.
    #[serde(default)]
    pub root: String,
    /// Id of its boot entry; empty until it is applied.
    #[serde(default)]
    pub entry: String,
    /// The number of its tries.
    #[serde(default)]
    pub tries: u32,
    /// The kernel's id of the boot in which it was applied; the next one is its first chance.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub applied_in: String,
    /// The committed system that it is to replace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<Previous>,
    /// Its trial boots so far.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub boots: Vec<TrialBoot>,
    /// Why it was given up. Set before the entry is marked bad, so that a power
    /// cut between the two is finished and not forgotten.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<Verdict>,
    /// When it ended, RFC 3339 UTC by the machine's clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<String>,
    /// Whether the loader counts its boots although it is committed: its entry has tries, which it gets back
    /// whenever it was healthy.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub counted: bool,
    /// Whether its verdict is not held against it: the checks that failed had failed on the system before it, too.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub excused: bool,
    /// The root hash of the dm-verity tree that was made for it, where the machine makes the tree itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root_hash: Option<String>,
    /// What vouched for the image when it was written, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verified: Option<String>,
    /// The lowest version that may be installed once it is committed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub floor: Option<String>,
    /// Reboots that Abide has asked for since it was applied.
    #[serde(default, skip_serializing_if = "Reboots::is_none")]
    pub reboots: Reboots,
    /// Whether its image has no version of its own (`IMAGE_VERSION`): many builds have this version, and the digest
    /// alone tells which one it is.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unversioned: bool,
}

/// A UKI as it was verified when it was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Uki {
    /// SHA-256 of the file, lower-case hexadecimal.
    pub sha256: String,
    /// Bytes.
    pub size: u64,
}

/// The committed system beside a trial.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Previous {
    /// Its slot.
    pub slot: SlotName,
    /// Id of its boot entry.
    pub entry: String,
    /// Its version, if the entry shows it.
    #[serde(default, deserialize_with = "text::read_optional", skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Whether its entry is renamed to `+0-0` for the trial.
    #[serde(default)]
    pub demoted: bool,
}

/// One boot of an update on trial.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrialBoot {
    /// The kernel's random id of this boot.
    pub boot_id: String,
    /// Which try it was, from 1, as the loader counted.
    pub attempt: u32,
    /// The furthest it got.
    pub phase: Phase,
    /// When it was first recorded, RFC 3339 UTC by the machine's clock.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub time: String,
    /// How it ended, if that is known; a boot without an end was interrupted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<BootEnd>,
}

/// How a trial boot ended, if it had the time to record that.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BootEnd {
    /// An orderly reboot or power-off before the assessment was over.
    Orderly,
    /// The assessment failed, and the configuration requires another try.
    Failed(Verdict),
}

/// Why an image was given up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// How far its boot got.
    pub phase: Phase,
    /// One sentence for people.
    #[serde(deserialize_with = "text::read_line")]
    pub reason: String,
    /// The checks that failed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub checks: Vec<FailedCheck>,
}

/// A health check that failed a trial.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailedCheck {
    /// Its name in the configuration.
    #[serde(deserialize_with = "text::read_line")]
    pub name: String,
    /// Its reason.
    #[serde(deserialize_with = "text::read_line")]
    pub reason: String,
    /// The end of its program's output, if it runs one.
    #[serde(default, deserialize_with = "text::read_lines")]
    pub output: String,
}

/// A failure record: this image is refused until `abide forget`. Also the form in which `abide status --json`
/// shows it, so that no field is ever left out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// Version of the image.
    #[serde(deserialize_with = "text::read_line")]
    pub version: String,
    /// SHA-256 of the published image, where it is known.
    #[serde(default)]
    pub digest: Option<String>,
    /// The number of its tries.
    pub attempts: u32,
    /// The furthest that any of them got.
    pub phase: Phase,
    /// One sentence for people.
    #[serde(deserialize_with = "text::read_line")]
    pub reason: String,
    /// The checks that failed.
    #[serde(default)]
    pub checks: Vec<FailedCheck>,
    /// When it failed for the last time, RFC 3339 UTC by the machine's clock; for people, and for the back-off
    /// where one is configured.
    pub time: String,
    /// How often this image failed, where it was tried again.
    #[serde(default = "once")]
    pub times: u32,
    /// Whether it may be tried again in spite of this; stored only if true.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub forgiven: bool,
    /// Whether other images have this version, too, so that only the digest is refused; stored only if true.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unversioned: bool,
    /// Id of the boot entry, where neither the version nor a digest tells which system it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entry: Option<String>,
}

fn once() -> u32 {
    1
}

impl Failure {
    /// Whether it is of an image of this version or with this digest. The version of an image that has none of its own
    /// is that of a whole product line, and does not count.
    #[must_use]
    pub fn is_of(&self, version: Option<&str>, digest: Option<&str>) -> bool {
        let is_digest = |d: &str| {
            let known = self.digest.as_deref();
            known.is_some_and(|known| kept_word(known).eq_ignore_ascii_case(&kept_word(d)))
        };
        let is_version = |v: &str| kept_word(&self.version) == kept_word(v);
        let version = version.filter(|_| !self.unversioned);
        version.is_some_and(is_version) || digest.is_some_and(is_digest)
    }
}

impl Update {
    /// Whether it is bootable, and neither committed nor ended by a fallback yet.
    #[must_use]
    pub fn is_open(&self) -> bool {
        matches!(self.stage, Stage::Applied | Stage::Testing)
    }

    /// Whether it is committed and still has tries.
    #[must_use]
    pub fn is_counted(&self) -> bool {
        self.counted && self.stage == Stage::Committed
    }
}

impl State {
    /// What `slot` is known to hold.
    #[must_use]
    pub fn installed(&self, slot: SlotName) -> Option<&Installed> {
        match slot {
            SlotName::A => self.a.as_ref(),
            SlotName::B => self.b.as_ref(),
        }
    }

    /// Remembers what `slot` holds from now on.
    pub fn set_installed(&mut self, slot: SlotName, what: Option<Installed>) {
        match slot {
            SlotName::A => self.a = what,
            SlotName::B => self.b = what,
        }
    }

    /// Stores a failure record in place of an older one of the same image, and adds up how often it failed.
    pub fn remember(&mut self, mut failure: Failure) {
        let key = |f: &Failure| {
            let digest = f.digest.as_deref().map(|digest| kept_word(digest).into_owned());
            (kept_word(&f.version).into_owned(), digest, f.entry.clone())
        };
        let image = key(&failure);
        let is_same = |f: &Failure| key(f) == image;
        let before = self.failures.iter().find(|f| is_same(f)).map_or(0, |f| f.times);
        self.failures.retain(|f| !is_same(f));
        failure.times = failure.times.saturating_add(before);
        self.failures.push(failure);
        let excess = self.failures.len().saturating_sub(MAX_FAILURES);
        self.failures.drain(..excess);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;

    fn failure(version: &str, digest: Option<&str>) -> Failure {
        Failure {
            version: version.into(),
            digest: digest.map(Into::into),
            attempts: 3,
            phase: Phase::Loader,
            reason: "it never came up".into(),
            checks: vec![],
            time: "2026-01-02T03:04:05Z".into(),
            times: 1,
            forgiven: false,
            unversioned: false,
            entry: None,
        }
    }

    #[test]
    fn the_same_image_failing_again_keeps_one_record_that_counts() {
        let mut state = State::default();
        state.remember(failure("3.0", Some("ab")));
        state.remember(failure("3.0", Some("cd")));
        state.remember(failure("3.0", Some("ab")));
        let times: Vec<u32> = state.failures.iter().map(|f| f.times).collect();
        assert_eq!(times, [1, 2]);
    }

    #[test]
    fn a_record_of_before_there_was_a_count_is_one_failure() {
        let mut record = serde_json::to_value(failure("3.0", None)).unwrap();
        record.as_object_mut().unwrap().remove("times");
        assert_eq!(serde_json::from_value::<Failure>(record).unwrap(), failure("3.0", None));
    }

    #[test]
    fn the_oldest_record_goes_when_there_are_too_many() {
        let mut state = State::default();
        for n in 0..=MAX_FAILURES {
            state.remember(failure(&n.to_string(), None));
        }
        assert_eq!(state.failures.len(), MAX_FAILURES);
        assert!(state.failures.iter().all(|f| f.version != "0"));
    }

    #[test]
    fn phases_are_ordered_by_how_far_a_boot_got() {
        assert!(Phase::Loader < Phase::Initramfs && Phase::SwitchRoot < Phase::Userspace);
    }

    #[test]
    fn a_record_of_an_earlier_version_is_cleaned_when_it_is_read() {
        let hostile = "\u{1b}[31mevil\u{202e}\r\nabide: forged\u{7}";
        let mut record = serde_json::to_value(failure("3.0", None)).unwrap();
        record["version"] = hostile.into();
        record["reason"] = hostile.into();
        record["checks"] = serde_json::json!([{ "name": hostile, "reason": hostile, "output": hostile }]);
        let record: Failure = serde_json::from_value(record).unwrap();
        assert_eq!(
            (record.version.as_str(), record.reason.as_str()),
            ("evil abide: forged", "evil abide: forged")
        );
        let check = record.checks.first().unwrap();
        assert_eq!(check.name, record.reason);
        assert_eq!(
            (check.reason.as_str(), check.output.as_str()),
            ("evil abide: forged", "evil \nabide: forged")
        );
    }
}

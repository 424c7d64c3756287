//! Which release of a feed this machine takes. Pure: the running system, the rules, the catalog and the time go in,
//! a decision comes out.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::config::Update as Rules;
use crate::config::update::Target;
use crate::feed::backoff;
use crate::feed::catalog::{Catalog, Release};
use crate::feed::rollout::{Held, Rollout, Turn};
use abide_core::boot::model::version::compare;
use abide_core::state::Failure;

/// What the decision depends on about this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunningSystem {
    /// The `IMAGE_ID` whose releases fit.
    pub image: String,
    /// This machine's architecture, as systemd calls it.
    pub arch: String,
    /// The version that runs.
    pub version: String,
    /// Whether its image has no version of its own: another digest of the same version is another build.
    pub unversioned: bool,
    /// SHA-256 of its published image, where Abide has written it.
    pub digest: Option<String>,
    /// Whether the running system is committed.
    pub trial: TrialState,
    /// Whether the machine was pinned with `abide update --pin`.
    pub pinned: bool,
    /// The lowest version that may be installed, as the committed images have demanded.
    pub floor: Option<String>,
    /// The images that failed here.
    pub failed: Vec<FailedImage>,
    /// What its turn in a rollout depends on.
    pub turn: Turn,
}

/// Whether the running system is known to be good.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TrialState {
    /// It was committed.
    Committed,
    /// It is on trial.
    OnTrial,
    /// It is not known, and why.
    Unknown(String),
}

/// An image that failed on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailedImage {
    /// Its version.
    pub version: String,
    /// Its digest, where that is known.
    pub digest: Option<String>,
    /// When it failed for the last time; none: unknown, and then it is never tried again.
    pub time: Option<Timestamp>,
    /// How often it failed.
    pub times: u32,
    /// Whether other images have this version, too, so that only the digest counts.
    pub unversioned: bool,
}

impl From<&Failure> for FailedImage {
    fn from(failure: &Failure) -> Self {
        Self {
            version: failure.version.clone(),
            digest: failure.digest.clone(),
            time: failure.time.parse().ok(),
            times: failure.times,
            unversioned: failure.unversioned,
        }
    }
}

/// Which release is taken, and which were passed over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// The result.
    pub ruling: Ruling,
    /// Releases that are newer, or are the target, and are not taken; the newest first.
    pub passed_over: Vec<PassedOver>,
    /// Whether the feed has releases of this machine's image for its architecture.
    pub has_image: bool,
    /// A newer release, and why it is not taken, where no release is.
    pub note: Option<PassedOver>,
}

impl std::fmt::Display for PassedOver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.version, self.why)
    }
}

impl Decision {
    fn of(ruling: Ruling, passed_over: Vec<PassedOver>) -> Self {
        Self { ruling, passed_over, has_image: true, note: None }
    }
}

/// The result of a decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ruling {
    /// Nothing to install: the wanted release runs.
    UpToDate,
    /// Install this release.
    Take(Box<Candidate>),
    /// Install nothing yet.
    Wait {
        /// The reason, in one sentence.
        why: String,
        /// When the wait ends; none: not known.
        until: Option<Timestamp>,
    },
    /// Install nothing until the configuration or the feed changes.
    Refuse {
        /// The reason, in one sentence.
        why: String,
    },
}

/// A release to install.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// The release.
    pub release: Release,
    /// The wanted version, where this release is a checkpoint on the way to it.
    pub towards: Option<String>,
    /// Whether it is older than the running version.
    pub downgrade: bool,
    /// Whether it failed on this machine before and is tried again.
    pub retry: bool,
}

/// A release that is not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PassedOver {
    /// Its version.
    pub version: String,
    /// Why it is not taken.
    pub why: Why,
}

/// Why a release is not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Why {
    /// It failed on this machine; with the time of the next attempt, if there is one.
    Failed(Option<Timestamp>),
    /// It is for these channels.
    Channel(Vec<String>),
    /// It is older than the configuration's `min_version`.
    MinVersion(String),
    /// It is older than the floor: the configuration's, or that of an image that was committed.
    Floor(String),
    /// The running version is older than the release's `min_version`.
    TooOld(String),
    /// It requires this checkpoint, which the feed does not have or which is passed over itself.
    Requires(String),
    /// It is not this machine's turn in the rollout.
    Rollout(Held),
    /// Its version has a newer number, but sorts before the running one.
    SortsBefore {
        /// The running version.
        running: String,
        /// A version with its number that sorts after it.
        better: String,
    },
}

impl std::fmt::Display for Why {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Failed(None) => {
                f.write_str("it failed on this machine; `abide forget` allows another attempt")
            }
            Self::Failed(Some(until)) => write!(f, "it failed on this machine; next attempt from {until:.0}"),
            Self::Channel(channels) => write!(f, "it is for the channel {}", channels.join(", ")),
            Self::MinVersion(min) => write!(f, "it is older than min_version, {min}"),
            Self::Floor(floor) => write!(f, "it is older than the floor, {floor}"),
            Self::TooOld(min) => write!(f, "it is for systems of version {min} or newer"),
            Self::Rollout(held) => write!(f, "{held}"),
            Self::SortsBefore { running, better } => write!(
                f,
                "it sorts before {running}, as systemd and the boot loader compare versions; publish it as {better}"
            ),
            Self::Requires(version) => write!(f, "it requires {version} first, which is not available"),
        }
    }
}

/// Decides which release of `catalog` is taken.
#[must_use]
pub fn decide(system: &RunningSystem, rules: &Rules, catalog: &Catalog, now: Timestamp) -> Decision {
    if let Some(ruling) = held(system) {
        return Decision::of(ruling, vec![]);
    }
    let selection = Selection { system, rules, catalog, now };
    match &rules.target {
        Target::Latest => selection.latest(),
        Target::Version(version) => selection.target(version),
    }
}

/// Why nothing can be taken now, whatever the feed offers.
fn held(system: &RunningSystem) -> Option<Ruling> {
    let wait = |why: String| Some(Ruling::Wait { why, until: None });
    match &system.trial {
        _ if system.pinned => wait(format!("Pinned to {} by `abide update --pin`", system.version)),
        TrialState::OnTrial => {
            wait("Waiting for current image to finish testing before updating again".to_owned())
        }
        TrialState::Unknown(why) => wait(format!("The running system is not known to be good: {why}")),
        TrialState::Committed => None,
    }
}

struct Selection<'a> {
    system: &'a RunningSystem,
    rules: &'a Rules,
    catalog: &'a Catalog,
    now: Timestamp,
}

impl<'a> Selection<'a> {
    fn offered(&self) -> impl DoubleEndedIterator<Item = &'a Release> + use<'a> {
        self.catalog.releases(&self.system.image, &self.system.arch)
    }

    fn is_newer(&self, release: &Release) -> bool {
        compare(&release.version, &self.system.version).is_gt() || self.is_other_build(release)
    }

    /// Whether the release has the running version and is another build of it. Where the digest of the running system is
    /// unknown, it is one: once it is installed, its digest is known.
    fn is_other_build(&self, release: &Release) -> bool {
        let RunningSystem { version, unversioned, digest, .. } = self.system;
        let is_same = digest.as_ref().is_some_and(|own| own.eq_ignore_ascii_case(&release.digest));
        *unversioned && !is_same && compare(&release.version, version).is_eq()
    }

    fn latest(&self) -> Decision {
        let mut passed_over = vec![];
        let mut has_image = false;
        for release in self.offered().rev() {
            has_image = true;
            if !self.is_newer(release) {
                break;
            }
            match self.path_to(release) {
                Ok(candidate) => return Decision::of(Ruling::Take(Box::new(candidate)), passed_over),
                Err(why) => passed_over.push(PassedOver { version: release.version.clone(), why }),
            }
        }
        if !has_image {
            let RunningSystem { image, arch, .. } = self.system;
            let why = format!("The feed has no image of {image} for {arch}; {}", self.catalog.listed());
            return Decision { has_image, ..Decision::of(Ruling::Refuse { why }, vec![]) };
        }
        let (ruling, about) = nothing_newer(&passed_over);
        let note = about.cloned().or_else(|| self.note(&passed_over));
        Decision { note, ..Decision::of(ruling, passed_over) }
    }

    /// Why the newest release is not taken. Releases of other channels count only where the feed has no others.
    fn note(&self, passed_over: &[PassedOver]) -> Option<PassedOver> {
        let is_for_others = |passed: &&PassedOver| matches!(passed.why, Why::Channel(_));
        let has_own = self.offered().any(|release| !self.is_newer(release));
        let passed = passed_over.iter().find(|passed| !(has_own && is_for_others(passed)));
        passed.cloned().or_else(|| self.misnamed())
    }

    /// A release whose number is newer, but whose version is not, since it begins with another word: `v2.0` is older than
    /// `1.0` for systemd, and so for the boot loader, which compares letters before numbers (`strverscmp_improved`).
    fn misnamed(&self) -> Option<PassedOver> {
        let (prefix, running) = prefix_and_number(&self.system.version);
        let older = self.offered().filter(|release| !self.is_newer(release));
        let numbered = older.map(|release| (prefix_and_number(&release.version).1, release));
        let is_newer = |(number, _): &(&str, _)| {
            !number.is_empty() && !running.is_empty() && compare(number, running).is_gt()
        };
        let newest = numbered.filter(is_newer).max_by(|(a, _), (b, _)| compare(a, b));
        let (number, release) = newest?;
        let (running, better) = (self.system.version.clone(), format!("{prefix}{number}"));
        Some(PassedOver { version: release.version.clone(), why: Why::SortsBefore { running, better } })
    }

    fn target(&self, version: &str) -> Decision {
        let without_others = |ruling| Decision::of(ruling, vec![]);
        let is_other = self.offered().any(|r| self.is_other_build(r));
        if compare(version, &self.system.version).is_eq() && !is_other {
            return without_others(Ruling::UpToDate);
        }
        let Some(release) = self.offered().find(|r| compare(&r.version, version).is_eq()) else {
            let (image, listed) = (&self.system.image, self.catalog.listed());
            let why = format!("The feed has no {image} {version} for this machine; {listed}");
            let has_image = self.offered().next().is_some();
            return Decision { has_image, ..without_others(Ruling::Refuse { why }) };
        };
        match self.path_to(release) {
            Ok(candidate) => without_others(Ruling::Take(Box::new(candidate))),
            Err(why) => {
                let sentence = format!("Cannot install the target {version}: {why}");
                let ruling = match why {
                    Why::Failed(until @ Some(_)) => Ruling::Wait { why: sentence, until },
                    _ => Ruling::Refuse { why: sentence },
                };
                Decision::of(ruling, vec![PassedOver { version: release.version.clone(), why }])
            }
        }
    }

    /// The first release on the way to `wanted`: itself, or a checkpoint that comes before it.
    fn path_to(&self, wanted: &Release) -> Result<Candidate, Why> {
        let mut next = wanted;
        loop {
            self.admit(next, std::ptr::eq(next, wanted))?;
            let requires = next.terms.requires.as_deref();
            let Some(requires) = requires.filter(|v| compare(v, &self.system.version).is_gt()) else { break };
            let needed = || Why::Requires(requires.to_owned());
            // A checkpoint that is not older than the release that requires it would never end.
            let is_checkpoint = |r: &&Release| {
                compare(&r.version, requires).is_eq() && compare(&r.version, &next.version).is_lt()
            };
            next = self.offered().find(is_checkpoint).ok_or_else(needed)?;
            self.admit(next, false).map_err(|why| match why {
                Why::Rollout(_) => why,
                _ => needed(),
            })?;
        }
        Ok(Candidate {
            release: next.clone(),
            towards: (!std::ptr::eq(next, wanted)).then(|| wanted.version.clone()),
            downgrade: compare(&next.version, &self.system.version).is_lt(),
            retry: self.failures_of(next).next().is_some(),
        })
    }

    fn failures_of<'f>(&'f self, release: &'f Release) -> impl Iterator<Item = &'f FailedImage> {
        self.system.failed.iter().filter(|f| {
            let same_digest = f.digest.as_ref().is_some_and(|d| d.eq_ignore_ascii_case(&release.digest));
            !f.unversioned && compare(&f.version, &release.version).is_eq() || same_digest
        })
    }

    /// Whether `release` may be installed; `wanted`: for its own sake, not as a checkpoint.
    fn admit(&self, release: &Release, wanted: bool) -> Result<(), Why> {
        let older_than = |limit: &Option<String>| {
            limit.as_ref().filter(|limit| compare(&release.version, limit).is_lt()).cloned()
        };
        let channels = &release.terms.channels;
        // Channels do not apply to a target, which is named on purpose, nor to a checkpoint, which is needed.
        let by_name = !wanted || self.rules.target != Target::Latest;
        if !by_name && !channels.is_empty() && !channels.contains(&self.rules.channel) {
            return Err(Why::Channel(channels.clone()));
        }
        if let Some(min) = older_than(&self.rules.min_version) {
            return Err(Why::MinVersion(min));
        }
        let floors = [&self.rules.floor, &self.system.floor].into_iter().flatten();
        let floor = floors.max_by(|a, b| compare(a, b)).cloned();
        if let Some(floor) = older_than(&floor).filter(|_| !self.is_newer(release)) {
            return Err(Why::Floor(floor));
        }
        let min = release.terms.min_version.as_ref();
        if let Some(min) = min.filter(|min| compare(&self.system.version, min).is_lt()) {
            return Err(Why::TooOld(min.clone()));
        }
        // A rollout does not apply to a target either. It applies to a checkpoint, which may be the halted release.
        let rollout = release.terms.rollout.as_deref().filter(|_| self.rules.target == Target::Latest);
        let held =
            |rollout: &Rollout| rollout.held(&release.image, &release.version, &self.system.turn, self.now);
        if let Some(held) = rollout.and_then(held) {
            return Err(Why::Rollout(held));
        }
        self.may_be_tried(release)
    }

    fn may_be_tried(&self, release: &Release) -> Result<(), Why> {
        let next_attempt = |failed: &FailedImage| {
            let rule = self.rules.retry()?;
            Some(backoff::until(&rule, failed.time?, failed.times, self.now))
        };
        // Of several records the one with the latest next attempt counts; none means never.
        let mut latest = None;
        for failed in self.failures_of(release) {
            latest = latest.max(Some(next_attempt(failed).ok_or(Why::Failed(None))?));
        }
        match latest.filter(|until| *until > self.now) {
            Some(until) => Err(Why::Failed(Some(until))),
            None => Ok(()),
        }
    }
}

/// A version in two: what is before its first digit, and the rest.
fn prefix_and_number(version: &str) -> (&str, &str) {
    let digit = version.find(|c: char| c.is_ascii_digit()).unwrap_or(version.len());
    version.split_at_checked(digit).unwrap_or((version, ""))
}

/// The ruling where no newer release may be taken, and the release that it is about.
fn nothing_newer(passed_over: &[PassedOver]) -> (Ruling, Option<&PassedOver>) {
    let until = |passed: &PassedOver| match passed.why {
        Why::Failed(until) => until,
        Why::Rollout(Held::Stage { from, .. }) => Some(from),
        _ => None,
    };
    let later = passed_over.iter().filter_map(|p| Some((until(p)?, p))).min_by_key(|(until, _)| *until);
    let rollout = passed_over.iter().find(|p| matches!(p.why, Why::Rollout(_)));
    let blocked = passed_over.iter().find(|p| matches!(p.why, Why::Requires(_)));
    let why = PassedOver::to_string;
    match (later, rollout, blocked) {
        (Some((until, p)), ..) => (Ruling::Wait { why: why(p), until: Some(until) }, Some(p)),
        (None, Some(p), _) => (Ruling::Wait { why: why(p), until: None }, Some(p)),
        (None, None, Some(p)) => (Ruling::Refuse { why: why(p) }, Some(p)),
        (None, None, None) => (Ruling::UpToDate, None),
    }
}

#[cfg(test)]
mod tests;

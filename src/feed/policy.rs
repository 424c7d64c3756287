//! What is to be done about what a feed offers. Pure.

use jiff::Timestamp;

use crate::config::Update as Rules;
use crate::config::update::Target;
use crate::feed::backoff;
use crate::feed::catalog::{Catalog, Release};
use abide_core::boot::model::version::compare;
use abide_core::state::Failure;

/// The machine, as far as it decides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// The `IMAGE_ID` whose releases fit.
    pub image: String,
    /// This machine's architecture, as systemd calls it.
    pub arch: String,
    /// The version that runs.
    pub version: String,
    /// Whether what runs may be updated.
    pub running: Running,
    /// Someone said `abide update --pin`.
    pub pinned: bool,
    /// The images that failed here.
    pub failed: Vec<Failed>,
}

/// Whether the running system is known to be good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Running {
    /// It is.
    Committed,
    /// It is on trial.
    OnTrial,
    /// It cannot be told, and why.
    Unknown(String),
}

/// An image that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failed {
    /// Its version.
    pub version: String,
    /// By what it is remembered, where that is known.
    pub digest: Option<String>,
    /// When it failed for the last time; none: not known, and so never long enough ago.
    pub time: Option<Timestamp>,
    /// How often it did.
    pub times: u32,
}

impl From<&Failure> for Failed {
    fn from(failure: &Failure) -> Self {
        Self {
            version: failure.version.clone(),
            digest: failure.digest.clone(),
            time: failure.time.parse().ok(),
            times: failure.times,
        }
    }
}

/// What is to be done, and what was passed over on the way to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// What is to be done.
    pub step: Step,
    /// Releases that would be newer, or that are the target, and are not taken; the newest first.
    pub passed_over: Vec<PassedOver>,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Nothing: what is wanted runs.
    UpToDate,
    /// This one is to be installed.
    Take(Taken),
    /// Nothing yet.
    Wait {
        /// A sentence for people.
        why: String,
        /// Until then; none: until something else happens.
        until: Option<Timestamp>,
    },
    /// Nothing, until someone changes the configuration or the feed.
    Refuse {
        /// A sentence for people.
        why: String,
    },
}

/// A release that is to be installed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    /// The release.
    pub release: Release,
    /// The version that cannot be had without it.
    pub towards: Option<String>,
    /// Whether it is older than what runs.
    pub downgrade: bool,
    /// Whether it failed before, and is tried again all the same.
    pub again: bool,
}

/// A release that is not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PassedOver {
    /// Its version.
    pub version: String,
    /// Why.
    pub why: Why,
}

/// Why a release is not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Why {
    /// It failed on this machine, and may be tried again at the time if there is one.
    Failed(Option<Timestamp>),
    /// It is for these channels.
    Channel(Vec<String>),
    /// It is older than the configuration's `min_version`.
    MinVersion(String),
    /// It is older than the configuration's `floor`.
    Floor(String),
    /// What runs is older than the release's `min_version`.
    TooOld(String),
    /// This release must be passed through first, and the feed does not have it, or it may not be taken either.
    Requires(String),
}

impl std::fmt::Display for Why {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Failed(None) => f.write_str("it failed here; abide forget lets it be tried again"),
            Self::Failed(Some(until)) => write!(f, "it failed here, and is tried again from {until:.0}"),
            Self::Channel(channels) => write!(f, "it is for the channel {}", channels.join(", ")),
            Self::MinVersion(min) => write!(f, "it is older than min_version, {min}"),
            Self::Floor(floor) => write!(f, "it is older than the floor, {floor}"),
            Self::TooOld(min) => write!(f, "it is for systems of {min} and newer"),
            Self::Requires(version) => write!(f, "{version} must be passed through first, and cannot be had"),
        }
    }
}

/// Says what is to be done about what `catalog` offers.
#[must_use]
pub fn decide(facts: &Facts, rules: &Rules, catalog: &Catalog, now: Timestamp) -> Decision {
    if let Some(step) = held(facts) {
        return Decision { step, passed_over: vec![] };
    }
    let look = Look { facts, rules, catalog, now };
    match &rules.target {
        Target::Latest => look.latest(),
        Target::Version(version) => look.target(version),
    }
}

/// Why nothing can be taken now, whatever is offered.
fn held(facts: &Facts) -> Option<Step> {
    let wait = |why: String| Some(Step::Wait { why, until: None });
    match &facts.running {
        _ if facts.pinned => wait(format!("pinned to {} by abide update --pin", facts.version)),
        Running::OnTrial => {
            wait("Waiting for current image to finish testing before updating again".to_owned())
        }
        Running::Unknown(why) => wait(format!("the running system is not known to be good: {why}")),
        Running::Committed => None,
    }
}

struct Look<'a> {
    facts: &'a Facts,
    rules: &'a Rules,
    catalog: &'a Catalog,
    now: Timestamp,
}

impl<'a> Look<'a> {
    fn offered(&self) -> impl DoubleEndedIterator<Item = &'a Release> + use<'a> {
        self.catalog.releases(&self.facts.image, &self.facts.arch)
    }

    fn is_newer(&self, release: &Release) -> bool {
        compare(&release.version, &self.facts.version).is_gt()
    }

    fn latest(&self) -> Decision {
        let mut passed_over = vec![];
        for release in self.offered().rev().filter(|r| self.is_newer(r)) {
            match self.way_to(release) {
                Ok(taken) => return Decision { step: Step::Take(taken), passed_over },
                Err(why) => passed_over.push(PassedOver { version: release.version.clone(), why }),
            }
        }
        let step = self.nothing_newer(&passed_over);
        Decision { step, passed_over }
    }

    /// What to say when nothing newer may be taken.
    fn nothing_newer(&self, passed_over: &[PassedOver]) -> Step {
        let again = passed_over
            .iter()
            .filter_map(|p| if let Why::Failed(Some(until)) = p.why { Some((until, p)) } else { None })
            .min_by_key(|(until, _)| *until);
        let blocked = passed_over.iter().find(|p| matches!(p.why, Why::Requires(_)));
        match (again, blocked) {
            (Some((until, p)), _) => {
                Step::Wait { why: format!("{}: {}", p.version, p.why), until: Some(until) }
            }
            (None, Some(p)) => Step::Refuse { why: format!("{}: {}", p.version, p.why) },
            (None, None) => Step::UpToDate,
        }
    }

    fn target(&self, version: &str) -> Decision {
        let done = |step| Decision { step, passed_over: vec![] };
        if compare(version, &self.facts.version).is_eq() {
            return done(Step::UpToDate);
        }
        let Some(release) = self.offered().find(|r| compare(&r.version, version).is_eq()) else {
            let image = &self.facts.image;
            return done(Step::Refuse { why: format!("the feed has no {image} {version} for this machine") });
        };
        match self.way_to(release) {
            Ok(taken) => done(Step::Take(taken)),
            Err(why) => {
                let sentence = format!("the target {version} cannot be taken: {why}");
                let step = match why {
                    Why::Failed(until @ Some(_)) => Step::Wait { why: sentence, until },
                    _ => Step::Refuse { why: sentence },
                };
                Decision { step, passed_over: vec![PassedOver { version: release.version.clone(), why }] }
            }
        }
    }

    /// The first step on the way to `wanted`: itself, or what must be passed through before.
    fn way_to(&self, wanted: &Release) -> Result<Taken, Why> {
        let mut next = wanted;
        loop {
            self.admit(next, std::ptr::eq(next, wanted))?;
            let requires = next.terms.requires.as_deref();
            let Some(requires) = requires.filter(|v| compare(v, &self.facts.version).is_gt()) else { break };
            let needed = || Why::Requires(requires.to_owned());
            // One that is not older than what needs it would lead round in a circle.
            let is_it = |r: &&Release| {
                compare(&r.version, requires).is_eq() && compare(&r.version, &next.version).is_lt()
            };
            next = self.offered().find(is_it).ok_or_else(needed)?;
            self.admit(next, false).map_err(|_| needed())?;
        }
        Ok(Taken {
            release: next.clone(),
            towards: (!std::ptr::eq(next, wanted)).then(|| wanted.version.clone()),
            downgrade: compare(&next.version, &self.facts.version).is_lt(),
            again: self.failures_of(next).next().is_some(),
        })
    }

    fn failures_of<'f>(&'f self, release: &'f Release) -> impl Iterator<Item = &'f Failed> {
        self.facts.failed.iter().filter(|f| {
            let same_digest = f.digest.as_ref().is_some_and(|d| d.eq_ignore_ascii_case(&release.digest));
            compare(&f.version, &release.version).is_eq() || same_digest
        })
    }

    /// Whether `release` may be had at all; `wanted`: for its own sake, not on the way to another.
    fn admit(&self, release: &Release, wanted: bool) -> Result<(), Why> {
        let older_than = |limit: &Option<String>| {
            limit.as_ref().filter(|limit| compare(&release.version, limit).is_lt()).cloned()
        };
        let channels = &release.terms.channels;
        // A target is named by someone who knows what he asks for, and a checkpoint is needed whatever it is for.
        let by_name = !wanted || self.rules.target != Target::Latest;
        if !by_name && !channels.is_empty() && !channels.contains(&self.rules.channel) {
            return Err(Why::Channel(channels.clone()));
        }
        if let Some(min) = older_than(&self.rules.min_version) {
            return Err(Why::MinVersion(min));
        }
        if let Some(floor) = older_than(&self.rules.floor).filter(|_| !self.is_newer(release)) {
            return Err(Why::Floor(floor));
        }
        let min = release.terms.min_version.as_ref();
        if let Some(min) = min.filter(|min| compare(&self.facts.version, min).is_lt()) {
            return Err(Why::TooOld(min.clone()));
        }
        self.may_be_tried(release)
    }

    fn may_be_tried(&self, release: &Release) -> Result<(), Why> {
        let again = |failed: &Failed| {
            let rule = self.rules.retry_failed.as_ref()?;
            Some(backoff::until(rule, failed.time?, failed.times, self.now))
        };
        // Of several records the one that forbids longest decides; `None` is for ever.
        let mut latest = None;
        for failed in self.failures_of(release) {
            latest = latest.max(Some(again(failed).ok_or(Why::Failed(None))?));
        }
        match latest.filter(|until| *until > self.now) {
            Some(until) => Err(Why::Failed(Some(until))),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;

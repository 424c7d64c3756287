//! What a source wants installed, and how far that has come.

use jiff::Timestamp;

use crate::feed::policy::Candidate;
use abide_core::text;

/// What a source wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Goal {
    /// Install this release.
    Release(Candidate, ReleaseState),
    /// Install nothing now.
    Nothing(Wait),
    /// Install nothing, and tell the source how its assignment ends.
    Ended(Ending),
}

/// How far a release has come on this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ReleaseState {
    /// Not on this machine, or not all of it.
    Remote,
    /// In the cache, or in a folder of this machine.
    Fetched,
    /// Written into the other slot and verified.
    Staged,
    /// Boots next, on trial.
    Applied,
}

/// Why nothing is done now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wait {
    /// The reason, in one sentence.
    pub why: String,
    /// When the wait ends, where it is known.
    pub until: Option<Timestamp>,
    /// Whether an update is deferred by this.
    pub defers: bool,
    /// What the wait is about, for machines that read it.
    pub subject: Subject,
    /// The release that waits, where it is known.
    pub release: Option<WaitingRelease>,
}

/// A release that is not installed now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WaitingRelease {
    /// Its version.
    pub version: String,
    /// Its digest, where it is known.
    pub digest: Option<String>,
}

/// What a wait is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Subject {
    /// The wanted version runs.
    UpToDate,
    /// The source has no image for this machine.
    NoImage,
    /// A newer release is not for this machine now.
    Held,
    /// What was read last cannot be used now: it decides nothing.
    Undecided,
    /// Anything else.
    #[default]
    Other,
}

impl Wait {
    /// There is nothing to do.
    pub fn idle(why: impl Into<String>) -> Self {
        Self {
            why: text::line(&why.into()),
            until: None,
            defers: false,
            subject: Subject::Other,
            release: None,
        }
    }

    /// The same about a subject.
    pub fn about(self, subject: Subject) -> Self {
        Self { subject, ..self }
    }

    /// Nothing is decided until the source is polled.
    pub fn undecided(why: impl Into<String>) -> Self {
        Self::idle(why).about(Subject::Undecided)
    }

    /// The same of a release.
    pub fn of(self, release: Option<WaitingRelease>) -> Self {
        Self { release, ..self }
    }

    /// An update is deferred.
    pub fn defer(why: impl Into<String>, until: Option<Timestamp>) -> Self {
        Self { why: text::line(&why.into()), until, defers: true, subject: Subject::Other, release: None }
    }
}

/// How an assignment ends of which nothing is installed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// The wanted version runs already.
    Done(String),
    /// The update is refused, and why.
    Refused(String),
}

impl Ending {
    /// The reason, in one sentence.
    pub fn why(&self) -> &str {
        let (Self::Done(why) | Self::Refused(why)) = self;
        why
    }
}

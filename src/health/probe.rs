//! What each kind of check implements, in [`crate::health::kinds`].

use std::fmt::Debug;
use std::time::Duration;

use abide_core::text;

/// A kind of check, with what it has seen so far.
pub trait Probe: Debug + Send {
    /// Runs the check once, for about `limit` at most.
    fn run(&mut self, limit: Duration) -> ProbeResult;

    /// The end of the output of its program in the last run; empty for kinds that run none.
    fn output(&self) -> &str {
        ""
    }
}

/// The result of one run of a check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProbeResult {
    /// The check passed.
    Pass,
    /// The check does not apply to this boot, with the reason.
    Skipped(String),
    /// The check did not pass; a later run may.
    NotYet(String),
    /// The check did not pass, and no later run will.
    Failed(String),
}

impl ProbeResult {
    /// Whether nothing speaks against the system.
    #[must_use]
    pub fn is_fine(&self) -> bool {
        matches!(self, Self::Pass | Self::Skipped(_))
    }

    /// With a reason that can be shown: programs, units and servers say what they like.
    #[must_use]
    pub fn printable(self) -> Self {
        match self {
            Self::Pass => Self::Pass,
            Self::Skipped(reason) => Self::Skipped(text::line(&reason)),
            Self::NotYet(reason) => Self::NotYet(text::line(&reason)),
            Self::Failed(reason) => Self::Failed(text::line(&reason)),
        }
    }
}

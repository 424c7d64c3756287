//! Health checks: what each kind finds out, and when a system on trial has passed.

pub mod baseline;
pub mod clock;
pub mod kinds;
pub mod probe;
pub mod report;
pub mod runner;
pub mod scripts;
pub mod window;

use std::fmt;

use serde::{Deserialize, Serialize};

pub use probe::Probe;
pub use report::Report;
pub use window::Window;

/// What one run of a check found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// As it should be.
    Pass,
    /// Not as it should be; that may change by itself.
    NotYet(String),
    /// Not as it should be, and waiting will not help.
    Failed(String),
}

/// A result in words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// The last run passed.
    Pass,
    /// The last run did not pass.
    Fail,
    /// It has not run yet.
    Pending,
}

/// The last result of a check, as it is published (`abide check --json`, `abide status --json`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CheckResult {
    /// The check's name.
    pub name: String,
    /// Whether it decides on this boot: `only_if_passed_before` is already taken into account.
    pub required: bool,
    /// What came out.
    pub result: Outcome,
    /// Why it did not pass; empty if it did.
    pub reason: String,
    /// The end of what its program put out when it did not pass, where it runs one.
    #[serde(default)]
    pub output: String,
    /// How long the run took.
    pub seconds: f64,
}

impl Outcome {
    /// The word for people and machines alike.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Fail => "fail",
            Self::Pending => "pending",
        }
    }
}

/// One line for people: `uplink: fail (wanted): no default route`.
impl fmt::Display for CheckResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let wanted = if self.required { "" } else { " (wanted)" };
        write!(f, "{}: {}{wanted}", self.name, self.result.as_str())?;
        if self.reason.is_empty() { Ok(()) } else { write!(f, ": {}", self.reason) }
    }
}

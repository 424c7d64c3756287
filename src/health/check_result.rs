//! The last result of a check, as it is published.

use std::fmt;

use serde::{Deserialize, Serialize};

use abide_core::text;

/// The status of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CheckStatus {
    /// The last run passed.
    Pass,
    /// It does not apply to this boot.
    Skipped,
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
    /// Whether the assessment of this boot depends on it; `only_if_passed_before` is taken into account.
    pub required: bool,
    /// The status after its last run.
    pub result: CheckStatus,
    /// Why it did not pass or was skipped; empty if it passed.
    #[serde(deserialize_with = "text::read_line")]
    pub reason: String,
    /// The end of the output of its program, where it runs one and did not pass.
    #[serde(default, deserialize_with = "text::read_lines")]
    pub output: String,
    /// How long the run took.
    pub seconds: f64,
}

impl CheckStatus {
    /// Whether nothing speaks against the system.
    #[must_use]
    pub fn is_fine(self) -> bool {
        matches!(self, Self::Pass | Self::Skipped)
    }

    /// The word in messages and JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Skipped => "skipped",
            Self::Fail => "fail",
            Self::Pending => "pending",
        }
    }
}

/// One line: `uplink: fail (wanted): no default route`.
impl fmt::Display for CheckResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let wanted = if self.required { "" } else { " (wanted)" };
        write!(f, "{}: {}{wanted}", self.name, self.result.as_str())?;
        if self.reason.is_empty() { Ok(()) } else { write!(f, ": {}", self.reason) }
    }
}

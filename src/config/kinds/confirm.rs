//! `kind = "confirm"`: somebody says that all is well.

use std::time::Duration;

use abide_core::config::section::Section;
use abide_core::error::Result;

/// `kind = "confirm"`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfirmCheck {
    /// How long an answer is waited for, from the start of the assessment; `None`: until the deadline.
    pub wait: Option<Duration>,
    /// Whether silence is consent.
    pub silence_confirms: bool,
}

impl ConfirmCheck {
    pub(in crate::config) fn read(section: &mut Section<'_>) -> Result<Self> {
        let words = [("deny", false), ("confirm", true)];
        let check = Self {
            wait: section.duration("wait")?,
            silence_confirms: section.word("silence", &words)?.unwrap_or(false),
        };
        match check.silence_confirms && check.wait.is_none() {
            true => Err(section.error_at("silence", "needs wait: how long an answer is waited for")),
            false => Ok(check),
        }
    }
}

//! `kind = "confirm"`: someone confirms that the system is healthy.

use abide_core::config::form::{Optional, Span, Word, Words};
use abide_core::config::section::Section;
use abide_core::error::Result;

use crate::config::table::settings;

settings! {
    /// `kind = "confirm"`.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct ConfirmCheck checked by ends {
        /// How long to wait for an answer, from the start of the assessment.
        pub wait: Optional<Span> = None, otherwise "until the deadline", example "15min";
        /// What a missing answer within `wait` counts as. `"confirm"` needs `wait`.
        pub silence_confirms as "silence": Word<Silence> = false;
    }
}

/// Whether a missing answer confirms.
#[derive(Debug)]
pub struct Silence;

impl Words for Silence {
    type Value = bool;
    const WORDS: &'static [(&'static str, bool)] = &[("deny", false), ("confirm", true)];
}

impl ConfirmCheck {
    fn ends(&self, section: &Section<'_>) -> Result<()> {
        if self.silence_confirms && self.wait.is_none() {
            return Err(section.error_at("silence", "needs wait: how long to wait for an answer"));
        }
        Ok(())
    }
}

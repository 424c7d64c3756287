//! `kind = "clock"`: the clock is synchronised.

use std::time::Duration;

use abide_core::config::section::Section;
use abide_core::error::Result;

/// `kind = "clock"`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClockCheck {
    /// The largest error that the kernel may estimate.
    pub max_error: Option<Duration>,
}

impl ClockCheck {
    pub(in crate::config) fn read(section: &mut Section<'_>) -> Result<Self> {
        Ok(Self { max_error: section.duration("max_error")? })
    }
}

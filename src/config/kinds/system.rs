//! `kind = "system"`: systemd has finished booting, and no unit failed that had not failed before.

use abide_core::config::section::Section;
use abide_core::error::Result;

/// `kind = "system"`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SystemCheck {
    /// Units that may fail, as shell patterns, beside those that had failed before the update.
    pub allow_failed: Vec<String>,
}

impl SystemCheck {
    pub(in crate::config) fn read(section: &mut Section<'_>) -> Result<Self> {
        Ok(Self { allow_failed: section.texts("allow_failed")?.unwrap_or_default() })
    }
}

//! `[scripts]`: the folders of scripts that have a say, or are told of the outcome.

use std::time::Duration;

use abide_core::config::section::Section;
use abide_core::error::Result;

/// How the scripts of `check/required.d` and its neighbours run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scripts {
    /// Whether they are looked for at all.
    pub enabled: bool,
    /// How long one run of one of them may take.
    pub timeout: Duration,
    /// How long after the start of one run of a check the next one starts.
    pub interval: Duration,
    /// File names that are left out, beside greenboot's `DISABLED_HEALTHCHECKS`.
    pub disabled: Vec<String>,
}

impl Default for Scripts {
    fn default() -> Self {
        Self {
            enabled: true,
            // They were written for greenboot, which has no limit; some wait for minutes by themselves.
            timeout: Duration::from_secs(5 * 60),
            interval: Duration::from_secs(30),
            disabled: vec![],
        }
    }
}

impl Scripts {
    pub(super) fn read(section: &mut Section<'_>) -> Result<Self> {
        let default = Self::default();
        let scripts = Self {
            enabled: section.flag("enabled")?.unwrap_or(default.enabled),
            timeout: section.duration("timeout")?.unwrap_or(default.timeout),
            interval: section.duration("interval")?.unwrap_or(default.interval),
            disabled: section.texts("disabled")?.unwrap_or(default.disabled),
        };
        if scripts.timeout.is_zero() {
            return Err(section.error_at("timeout", "must be longer than nothing"));
        }
        if scripts.interval < crate::config::check::SHORTEST_INTERVAL {
            return Err(section.error_at("interval", "must be at least 100ms"));
        }
        Ok(scripts)
    }
}

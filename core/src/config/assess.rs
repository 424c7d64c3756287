//! `[assess]`: how long a new system is tried, and what happens if it fails.

use std::time::Duration;

use crate::config::duration;
use crate::config::section::Section;
use crate::error::Result;

/// What a trial that fails its checks does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnFailure {
    /// Mark the new system bad and reboot into the old one, whatever tries are left.
    Rollback,
    /// Reboot and use up the tries; the loader falls back after the last.
    Retry,
}

/// The limits of a trial.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assess {
    /// The new system must stay healthy for this long, without a break.
    pub test_window: Duration,
    /// An uncommitted trial boot has failed after this long, counted from the start of the kernel.
    pub deadline: Duration,
    /// What then happens.
    pub on_failure: OnFailure,
    /// How often the loader tries a new system, 1 to 9: one digit, so that the file name of the
    /// boot entry keeps its length while it is counted down.
    pub tries: u32,
    /// Whether committed systems are checked at every boot, too.
    pub every_boot: bool,
    /// Whether the loader goes on counting a committed system's boots, which get their tries back
    /// whenever it was healthy.
    pub rearm: bool,
}

impl Default for Assess {
    fn default() -> Self {
        Self {
            test_window: Duration::from_secs(10 * 60),
            deadline: Duration::from_secs(20 * 60),
            on_failure: OnFailure::Rollback,
            tries: 3,
            every_boot: false,
            rearm: false,
        }
    }
}

impl Assess {
    pub(super) fn read(section: &mut Section<'_>) -> Result<Self> {
        let default = Self::default();
        let words = [("rollback", OnFailure::Rollback), ("retry", OnFailure::Retry)];
        let assess = Self {
            test_window: section.duration("test_window")?.unwrap_or(default.test_window),
            deadline: section.duration("deadline")?.unwrap_or(default.deadline),
            on_failure: section.word("on_failure", &words)?.unwrap_or(default.on_failure),
            tries: section.count("tries", 1..=9)?.unwrap_or(default.tries),
            every_boot: section.flag("every_boot")?.unwrap_or(default.every_boot),
            rearm: section.flag("rearm")?.unwrap_or(default.rearm),
        };
        if assess.deadline <= assess.test_window {
            let key = if section.has("deadline") { "deadline" } else { "test_window" };
            return Err(section.error_at(
                key,
                &format!(
                    "the deadline ({}) leaves no room for the test window ({}): no update could be committed",
                    duration::format(assess.deadline),
                    duration::format(assess.test_window)
                ),
            ));
        }
        Ok(assess)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::config::tree::Tree;

    fn read(text: &str) -> Result<Assess> {
        Section::top(&Tree::parse("f", text)?).table("assess", Assess::read)
    }

    #[test]
    fn what_is_not_written_has_its_default() {
        let assess = read("[assess]\ntest_window = '30s'\n").unwrap();
        assert_eq!(assess, Assess { test_window: Duration::from_secs(30), ..Assess::default() });
    }

    #[test]
    fn a_deadline_before_the_end_of_the_test_window_is_refused() {
        let error = read("[assess]\ndeadline = '5min'\n").unwrap_err();
        assert_eq!(
            error.to_string(),
            "f:2: deadline: the deadline (5min) leaves no room for the test window (10min): \
             no update could be committed"
        );
    }

    #[test]
    fn tries_have_one_digit() {
        assert!(read("[assess]\ntries = 10\n").is_err());
        assert!(read("[assess]\ntries = 0\n").is_err());
    }
}

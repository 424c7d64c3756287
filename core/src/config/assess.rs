//! `[assess]`: how long a new system is tried, and what happens if it fails.

use std::time::Duration;

use crate::config::duration;
use crate::config::form::{Count, Flag, Span, Word, Words};
use crate::config::section::Section;
use crate::config::table::settings;
use crate::error::Result;

/// What happens when a trial fails its checks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnFailure {
    /// Mark the new system bad and reboot into the old one, whatever tries are left.
    Rollback,
    /// Reboot and use up the tries; the loader falls back after the last.
    Retry,
}

impl Words for OnFailure {
    type Value = Self;
    const WORDS: &'static [(&'static str, Self)] = &[("rollback", Self::Rollback), ("retry", Self::Retry)];
}

/// Gives the table `[assess]` to the macro `of`: here to the reader, in the product to the descriptions.
#[macro_export]
macro_rules! assess_table {
    ($of:ident) => {
        $of! {
            /// The limits of a trial.
            #[derive(Debug, Clone, PartialEq, Eq)]
            pub struct Assess checked by fits {
                /// How long the new system must stay healthy without interruption before it is committed.
                pub test_window: Span = Duration::from_secs(10 * 60);
                /// The time from the start of the kernel after which an uncommitted trial fails. Must be longer than
                /// the test window.
                pub deadline: Span = Duration::from_secs(20 * 60);
                /// What happens when a trial fails its checks. `"rollback"`: mark the new system bad and reboot into
                /// the old one at once. `"retry"`: reboot and use up the tries first.
                pub on_failure: Word<OnFailure> = OnFailure::Rollback;
                /// How often the boot loader tries a new system.
                // One digit, so that the file name of the boot entry keeps its length while it is counted down.
                pub tries: Count<1, 9> = 3;
                /// Whether committed systems are checked at every boot, too. Needs
                /// `systemctl enable abide-every-boot.service`.
                pub every_boot: Flag = false;
                /// Whether the boot loader keeps counting the boots of a committed system, so that one that crashes
                /// later falls back, too.
                pub rearm: Flag = false;
                /// Whether a trial that another tool began (systemd-sysupdate, an installer) is assessed like one of
                /// Abide's, and committed or rolled back. Otherwise systemd-bless-boot.service marks it as good.
                pub other_trials: Flag = false;
            }
        }
    };
}

pub use assess_table;

assess_table!(settings);

impl Assess {
    fn fits(&self, section: &Section<'_>) -> Result<()> {
        if self.deadline > self.test_window {
            return Ok(());
        }
        let key = if section.has("deadline") { "deadline" } else { "test_window" };
        Err(section.error_at(
            key,
            &format!(
                "the deadline ({}) leaves no room for the test window ({}): no update could be committed",
                duration::format(self.deadline),
                duration::format(self.test_window)
            ),
        ))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::config::BootConfig;
    use crate::config::section::Settings;
    use crate::config::tree::Tree;

    fn read(text: &str) -> Result<Assess> {
        BootConfig::read(&mut Section::top(&Tree::parse("f", text)?)).map(|config| config.assess)
    }

    #[test]
    fn a_missing_key_has_its_default() {
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

//! `kind = "system"`: systemd has finished booting, and no unit has failed that had not failed before.

use crate::config::forms::{List, Pattern};
use crate::config::table::settings;

settings! {
    /// `kind = "system"`.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct SystemCheck {
        /// Units that may fail, in addition to those that had already failed on the last committed system.
        pub allow_failed: List<Pattern> = vec![];
    }
}

//! `[scripts]`: the folders of scripts that check a system, or run after the outcome.

use std::time::Duration;

use abide_core::config::form::{Flag, Span, Text};

use crate::config::check::SHORTEST_INTERVAL;
use crate::config::forms::{Limit, List};
use crate::config::table::settings;

settings! {
    /// How the scripts of `check/required.d` and its neighbours run.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct Scripts {
        /// Whether scripts are run.
        pub enabled: Flag = true;
        /// How long one run of a script may take.
        // They were written for greenboot, which has no limit; some wait for minutes by themselves.
        pub timeout: Limit = Duration::from_secs(5 * 60);
        /// The time from the start of one run of a check to the start of the next.
        pub interval: Span<SHORTEST_INTERVAL> = Duration::from_secs(30);
        /// The file names of scripts that are not run, in addition to those in greenboot's `DISABLED_HEALTHCHECKS`.
        pub disabled: List<Text> = vec![];
    }
}

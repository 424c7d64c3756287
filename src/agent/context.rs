//! What a run works with.

use crate::agent::mode::Mode;
use crate::agent::privileges::Privileges;
use crate::config::{Config, Download};
use abide_core::root::Root;

/// What stays the same during a run.
#[derive(Debug, Clone, Copy)]
pub struct RunContext<'a> {
    /// The machine's root.
    pub root: &'a Root,
    /// The configuration.
    pub config: &'a Config,
    /// What the run was started for.
    pub mode: Mode,
    /// What it may do.
    pub privileges: Privileges,
    /// Whether a release is taken before this machine's turn in its rollout.
    pub early: bool,
}

impl RunContext<'_> {
    /// Whether the run tells servers what has happened. A check only asks.
    pub fn tells_servers(&self) -> bool {
        self.privileges.network && self.mode != Mode::Check
    }

    /// The limits of a download in the background.
    pub fn background_limits(&self) -> Download {
        let mut limits = self.config.download.clone();
        limits.rate_limit = self.config.update.rate_limit.or(limits.rate_limit);
        limits
    }
}

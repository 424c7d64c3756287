//! `[emt]`: how Abide answers when it is called as a tool of Intel's Edge Microvisor Toolkit.

use std::time::Duration;

use abide_core::config::form::{Span, Word, Words};

use crate::config::table::settings;

/// What `os-update-tool.sh -c` needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CommitOn {
    /// The required checks have passed in this boot.
    Evidence,
    /// The call itself.
    AtOnce,
}

impl Words for CommitOn {
    type Value = Self;
    const WORDS: &'static [(&'static str, Self)] = &[("evidence", Self::Evidence), ("at-once", Self::AtOnce)];
}

settings! {
    /// How the calls of EMT's tools are answered.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct Emt {
        /// When `os-update-tool.sh -c` commits a system on trial. `"evidence"`: once each required check has passed in
        /// this boot. `"at-once"`: when it is called, as EMT's own tool does; a call proves nothing about the system.
        pub commit: Word<CommitOn> = CommitOn::Evidence;
        /// How long `-c` waits for the checks to pass. After that it exits with 4, and the assessment continues.
        pub commit_wait: Span = Duration::from_secs(60);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::config::Config;

    #[test]
    fn a_call_commits_on_evidence_unless_configured() {
        let emt = |text: &str| Config::parse("f", text).unwrap().emt;
        assert_eq!(emt(""), Emt { commit: CommitOn::Evidence, commit_wait: Duration::from_secs(60) });
        let other = emt("[emt]\ncommit = 'at-once'\ncommit_wait = '5s'\n");
        assert_eq!(other, Emt { commit: CommitOn::AtOnce, commit_wait: Duration::from_secs(5) });
        assert!(Config::parse("f", "[emt]\ncommit = 'now'\n").is_err());
    }
}

//! `[update.fleetlock]`: a FleetLock server that grants reboots one after the other.

use std::time::Duration;

use abide_core::config::form::{Optional, Span, TextRule, Word, Words};

use crate::config::described::DescribedText;
use crate::config::forms::{AbsolutePath, NotEmpty, Url};
use crate::config::table::settings;

settings! {
    /// How the server is reached, and what happens without it.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct FleetLock {
        /// The base URL of the server: the part before `/v1/pre-reboot`.
        pub url: Url, example "https://fleetlock.example";
        /// The group of machines that this machine belongs to. Letters, digits, `.` and `-`.
        pub group: Group = "default".into();
        /// The ID of the machine at the server.
        pub id: Optional<NotEmpty> = None, otherwise "derived from the machine ID", example "node-1";
        /// A file of PEM certificates to check the server against.
        pub ca: Optional<AbsolutePath> = None, otherwise "the system's", example "/etc/abide/ca.pem";
        /// How long to wait for an unresponsive server before `if_away` applies.
        pub patience: Span = Duration::from_secs(24 * 60 * 60);
        /// What happens after `patience`. `"stay"`: keep running, and reboot when the server responds again. `"reboot"`:
        /// reboot without the lock.
        pub if_away: Word<IfAway> = IfAway::Stay;
    }
}

/// The name of a group.
#[derive(Debug)]
pub struct Group;

impl TextRule for Group {
    fn problem(text: &str) -> Option<String> {
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-');
        let is_name = !text.is_empty() && text.chars().all(fits);
        (!is_name).then(|| "must consist of letters, digits, '.' and '-'".into())
    }
}

impl DescribedText for Group {
    const NAME: &'static str = "text";
}

/// What happens while the server does not answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IfAway {
    /// The update fails, and is tried again when the server is back.
    Stay,
    /// The machine reboots without the lock.
    Reboot,
}

impl Words for IfAway {
    type Value = Self;
    const WORDS: &'static [(&'static str, Self)] = &[("stay", Self::Stay), ("reboot", Self::Reboot)];
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use abide_core::error::Result;

    use super::*;
    use crate::config::Config;

    fn fleetlock(keys: &str) -> Result<FleetLock> {
        let text = format!("[update.fleetlock]\nurl = 'https://h/lock'\n{keys}");
        Config::parse("f", &text).map(|config| config.update.fleetlock.unwrap())
    }

    #[test]
    fn every_key_is_read() {
        let keys =
            "group = 'edge.eu-1'\nid = 'n1'\nca = '/etc/ca.pem'\npatience = '2h'\nif_away = 'reboot'\n";
        let read = FleetLock {
            url: "https://h/lock".into(),
            group: "edge.eu-1".into(),
            id: Some("n1".into()),
            ca: Some("/etc/ca.pem".into()),
            patience: Duration::from_secs(7200),
            if_away: IfAway::Reboot,
        };
        assert_eq!(fleetlock(keys).unwrap(), read);
        assert_eq!(fleetlock("").unwrap().if_away, IfAway::Stay);
    }

    #[test]
    fn invalid_settings_are_refused() {
        for keys in ["group = ''\n", "group = 'a b'\n", "if_away = 'panic'\n", "id = ''\n"] {
            assert_eq!(fleetlock(keys).unwrap_err().exit_code(), 2, "{keys}");
        }
    }
}

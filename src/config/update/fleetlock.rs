//! `[update.fleetlock]`: a FleetLock server where machines queue for their reboot.

use std::time::Duration;

use abide_core::config::section::Section;
use abide_core::error::Result;

/// How the server is reached, and what is done without it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FleetLock {
    /// The base that `/v1/pre-reboot` is appended to.
    pub url: String,
    /// The group of machines that this one queues with.
    pub group: String,
    /// By what the server knows the machine; none: derived from the machine id.
    pub id: Option<String>,
    /// A file of PEM certificates that the server is checked against instead of the system's.
    pub ca: Option<String>,
    /// How long a server that does not answer is asked again before [`FleetLock::if_away`] counts.
    pub patience: Duration,
    /// What is done then.
    pub if_away: IfAway,
}

/// What is done about a server that does not answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IfAway {
    /// The update fails, and is taken again when the server is back.
    Stay,
    /// The machine is rebooted without its turn.
    Reboot,
}

impl FleetLock {
    pub(super) fn read(section: &mut Section<'_>) -> Result<Self> {
        let group = section.text("group")?.unwrap_or_else(|| "default".into());
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-');
        if group.is_empty() || !group.chars().all(fits) {
            return Err(section.error_at("group", "must be of letters, digits, '.' and '-'"));
        }
        let fleetlock = Self {
            url: section.needed_url("url")?,
            group,
            id: section.text("id")?,
            ca: section.path("ca")?,
            patience: section.duration("patience")?.unwrap_or(Duration::from_secs(24 * 60 * 60)),
            if_away: section
                .word("if_away", &[("stay", IfAway::Stay), ("reboot", IfAway::Reboot)])?
                .unwrap_or(IfAway::Stay),
        };
        section.not_empty("id")?;
        Ok(fleetlock)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
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
    fn what_cannot_be_meant_is_refused() {
        for keys in ["group = ''\n", "group = 'a b'\n", "if_away = 'panic'\n", "id = ''\n"] {
            assert_eq!(fleetlock(keys).unwrap_err().exit_code(), 2, "{keys}");
        }
    }
}

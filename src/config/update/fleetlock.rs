//! `[update.fleetlock]`: a FleetLock server where machines queue for their reboot.

use crate::config::section::Section;
use crate::error::Result;

/// How the server is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FleetLock {
    /// The base that `/v1/pre-reboot` is appended to.
    pub url: String,
    /// The group of machines that this one queues with.
    pub group: String,
}

impl FleetLock {
    pub(super) fn read(section: &mut Section<'_>) -> Result<Self> {
        let group = section.text("group")?.unwrap_or_else(|| "default".into());
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-');
        if group.is_empty() || !group.chars().all(fits) {
            return Err(section.error_at("group", "must be of letters, digits, '.' and '-'"));
        }
        Ok(Self { url: section.needed_url("url")?, group })
    }
}

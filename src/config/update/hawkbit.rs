//! `[update.hawkbit]`: an Eclipse hawkBit server that decides what is installed.

use crate::config::section::Section;
use crate::error::Result;

/// How the server is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HawkBit {
    /// The server, without the tenant's path.
    pub url: String,
    /// hawkBit's tenant.
    pub tenant: String,
}

impl HawkBit {
    pub(super) fn read(section: &mut Section<'_>) -> Result<Self> {
        Ok(Self {
            url: section.needed_url("url")?,
            tenant: section.text("tenant")?.unwrap_or_else(|| "DEFAULT".into()),
        })
    }
}

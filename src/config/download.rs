//! `[download]`: how images are fetched from web servers.

use std::path::PathBuf;
use std::time::Duration;

use abide_core::config::section::Section;
use abide_core::error::Result;

/// The limits of a download.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Download {
    /// How long a download may go without a byte, over all attempts to go on, before it is given up.
    pub give_up_after: Duration,
    /// Bytes per second at most; none: as fast as it goes.
    pub rate_limit: Option<u64>,
    /// A file of PEM certificates that servers are checked against instead of the system's.
    pub ca: Option<PathBuf>,
}

impl Default for Download {
    fn default() -> Self {
        Self { give_up_after: Duration::from_secs(5 * 60), rate_limit: None, ca: None }
    }
}

impl Download {
    pub(super) fn read(section: &mut Section<'_>) -> Result<Self> {
        let default = Self::default();
        let rate_limit = section.size("rate_limit")?;
        if rate_limit == Some(0) {
            return Err(
                section.error_at("rate_limit", "nothing would ever arrive; leave it out for no limit")
            );
        }
        Ok(Self {
            give_up_after: section.duration("give_up_after")?.unwrap_or(default.give_up_after),
            rate_limit,
            ca: section.text("ca")?.map(PathBuf::from),
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::config::Config;

    #[test]
    fn every_key_is_read() {
        let text = "[download]\ngive_up_after = '10s'\nrate_limit = '1M'\nca = '/etc/ca.pem'\n";
        let config = Config::parse("f", text).unwrap();
        assert_eq!(
            config.download,
            Download {
                give_up_after: Duration::from_secs(10),
                rate_limit: Some(1 << 20),
                ca: Some("/etc/ca.pem".into()),
            }
        );
    }

    #[test]
    fn a_rate_of_nothing_is_refused() {
        assert!(Config::parse("f", "[download]\nrate_limit = '0'\n").is_err());
    }
}

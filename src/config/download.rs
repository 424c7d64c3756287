//! `[download]`: how images are fetched from web servers.

use std::time::Duration;

use abide_core::config::form::{Optional, Span};

use crate::config::forms::{FilePath, Rate};
use crate::config::table::settings;

settings! {
    /// The limits of a download.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct Download {
        /// How long a download may make no progress, over all attempts to resume it, before it fails.
        pub give_up_after: Span = Duration::from_secs(5 * 60);
        /// How many bytes per second a download may take.
        pub rate_limit: Optional<Rate> = None, otherwise "no limit", example "1M";
        /// A file of PEM certificates to check web servers against.
        pub ca: Optional<FilePath> = None, otherwise "the system's", example "/etc/abide/ca.pem";
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
    fn a_rate_of_zero_is_refused() {
        assert!(Config::parse("f", "[download]\nrate_limit = '0'\n").is_err());
    }
}

//! `[download]`: how images are fetched from web servers.

use std::time::Duration;

use abide_core::config::form::{Optional, Span};

use crate::config::forms::{FilePath, Limit, Rate, Size};
use crate::config::table::settings;

settings! {
    /// The limits of a download.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct Download {
        /// How long a download may make no progress, over all attempts to resume it, before it fails.
        pub give_up_after: Span = Duration::from_secs(5 * 60);
        /// How many bytes per second a server must send. A download that falls behind that by `give_up_after`, and by 5
        /// seconds at least, fails. `0`: any rate will do.
        pub min_rate: Size = 1024;
        /// The longest that one attempt may take, with all its interruptions. The next one resumes it.
        pub max_time: Limit = Duration::from_secs(24 * 60 * 60);
        /// The largest file that is downloaded. A larger one is refused, and what was fetched of it is removed.
        pub max_size: Rate = 16 << 30;
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
        let text = "[download]\ngive_up_after = '10s'\nmin_rate = '4K'\nmax_time = '2h'\nmax_size = '1G'\n\
                    rate_limit = '1M'\nca = '/etc/ca.pem'\n";
        let config = Config::parse("f", text).unwrap();
        assert_eq!(
            config.download,
            Download {
                give_up_after: Duration::from_secs(10),
                min_rate: 4 << 10,
                max_time: Duration::from_secs(7200),
                max_size: 1 << 30,
                rate_limit: Some(1 << 20),
                ca: Some("/etc/ca.pem".into()),
            }
        );
    }

    #[test]
    fn a_rate_of_zero_is_refused() {
        assert!(Config::parse("f", "[download]\nrate_limit = '0'\n").is_err());
        assert!(Config::parse("f", "[download]\nmax_size = 0\n").is_err());
    }
}

//! `[report]`: where events are sent, beside the journal.

use abide_core::config::form::{Flag, Optional};
use abide_core::config::section::Section;
use abide_core::error::Result;

use crate::config::forms::{AbsolutePath, Url};
use crate::config::table::settings;

settings! {
    /// Where events are sent, in addition to the journal.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct EventTargets checked by ends_in_prom {
        /// A server that each event is posted to.
        pub url: Optional<Url> = None, example "https://reports.example/abide";
        /// A file of PEM certificates to check the server against.
        pub ca: Optional<AbsolutePath> = None, otherwise "the system's", example "/etc/abide/ca.pem";
        /// A file for the textfile collector of Prometheus' node exporter. Its name ends in `.prom`.
        pub metrics: Optional<AbsolutePath> = None,
            example "/var/lib/prometheus/node-exporter/abide.prom";
        /// Whether `/run/motd.d/abide` shows the state of an update at login.
        pub motd: Flag = true;
    }
}

impl EventTargets {
    fn ends_in_prom(&self, section: &Section<'_>) -> Result<()> {
        if self.metrics.as_deref().is_some_and(|file| !file.ends_with(".prom")) {
            return Err(section.error_at("metrics", "must end in .prom: the collector reads no other files"));
        }
        Ok(())
    }
}

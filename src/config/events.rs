//! `[report]`: where events are sent.

use abide_core::config::section::Section;
use abide_core::error::Result;

/// Where each change of state is told, beside the journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventTargets {
    /// A server that each is posted to.
    pub url: Option<String>,
    /// A file of PEM certificates that the server is checked against instead of the system's.
    pub ca: Option<String>,
    /// A file for the textfile collector of Prometheus' node exporter.
    pub metrics: Option<String>,
    /// Whether those who log in are told.
    pub motd: bool,
}

impl Default for EventTargets {
    fn default() -> Self {
        Self { url: None, ca: None, metrics: None, motd: true }
    }
}

impl EventTargets {
    pub(super) fn read(section: &mut Section<'_>) -> Result<Self> {
        let report = Self {
            url: section.text("url")?,
            ca: section.path("ca")?,
            metrics: section.path("metrics")?,
            motd: section.flag("motd")?.unwrap_or(true),
        };
        let is_web = |url: &str| url.starts_with("http://") || url.starts_with("https://");
        if report.url.as_deref().is_some_and(|url| !is_web(url)) {
            return Err(section.error_at("url", "must begin with http:// or https://"));
        }
        if report.metrics.as_deref().is_some_and(|file| !file.ends_with(".prom")) {
            return Err(section.error_at("metrics", "must end in .prom: the collector reads no other files"));
        }
        Ok(report)
    }
}

//! What systemd reports about units and jobs, by D-Bus or `systemctl`.

use std::collections::BTreeMap;

/// The properties of one unit, written as `systemctl show` writes them.
pub type Properties = BTreeMap<String, String>;

/// A job that systemd has queued.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// Its unit.
    pub unit: String,
    /// `start`, `stop`, …
    pub kind: String,
    /// Whether it runs; it waits for others otherwise.
    pub is_running: bool,
}

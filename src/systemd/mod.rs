//! Asks systemd how its units are: over D-Bus, which costs no process, and through `systemctl` where
//! neither systemd's own socket nor a bus answers in half the time that there is.

mod answers;
pub mod child;
mod dbus;
pub mod journal;
pub mod notify;
mod systemctl;

use std::collections::BTreeMap;
use std::time::Duration;

use log::debug;

use abide_core::root::Root;
use dbus::Dbus;
use systemctl::Systemctl;

/// The properties of one unit, written as `systemctl show` writes them.
pub type Properties = BTreeMap<String, String>;

/// A job that systemd has queued.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// Its unit.
    pub unit: String,
    /// `start`, `stop`, …
    pub kind: String,
    /// Whether it runs, or waits for others.
    pub is_running: bool,
}

/// A way to ask; `limit` holds for each question.
#[derive(Debug, Clone)]
pub struct Systemd {
    root: Root,
    limit: Duration,
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Silence {
    /// Nobody is there who can be asked in this way.
    Absent(String),
    /// It was asked, and did not answer in time.
    Asked(String),
}

impl Systemd {
    /// Asks the systemd of `root`: below a folder, by the sockets and the program there.
    #[must_use]
    pub fn new(root: &Root, limit: Duration) -> Self {
        Self { root: root.clone(), limit }
    }

    /// The properties `names` of each of `units`, in their order. What a unit of that type does not
    /// have is left out.
    ///
    /// # Errors
    /// If systemd does not answer.
    pub fn show(&self, units: &[&str], names: &[&str]) -> Result<Vec<Properties>, String> {
        self.ask(|bus| bus.show(units, names), |program| program.show(units, names))
    }

    /// The units that are in the failed state.
    ///
    /// # Errors
    /// If systemd does not answer.
    pub fn failed_units(&self) -> Result<Vec<String>, String> {
        self.ask(Dbus::failed_units, Systemctl::failed_units)
    }

    /// What systemd still has to do.
    ///
    /// # Errors
    /// If systemd does not answer.
    pub fn jobs(&self) -> Result<Vec<Job>, String> {
        self.ask(Dbus::jobs, Systemctl::jobs)
    }

    fn ask<T>(
        &self,
        on_bus: impl FnOnce(&mut Dbus) -> Result<T, Silence>,
        by_program: impl FnOnce(&Systemctl) -> Result<T, String>,
    ) -> Result<T, String> {
        // Whatever keeps one way from an answer leaves time for the other.
        let half = self.limit / 2;
        let silence = match Dbus::connect(&self.root, half).and_then(|mut bus| on_bus(&mut bus)) {
            Ok(answer) => return Ok(answer),
            Err(silence) => silence,
        };
        debug!("{silence}; asking systemctl");
        let answer = by_program(&Systemctl::new(&self.root, self.limit.saturating_sub(half)));
        answer.map_err(|why| match silence {
            Silence::Absent(_) => why,
            Silence::Asked(late) => late,
        })
    }
}

impl std::fmt::Display for Silence {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Absent(why) | Self::Asked(why) => f.write_str(why),
        }
    }
}

//! Asks systemd about its units: over D-Bus, which starts no process, and through `systemctl` where
//! neither systemd's own socket nor the bus answers within half of the time limit.

use std::time::Duration;

use log::debug;

use crate::systemd::dbus::{Connection, DbusError};
use crate::systemd::systemctl::Systemctl;
use crate::systemd::unit::{Job, Properties};
use abide_core::root::Root;

/// The service manager; `limit` holds for each question.
#[derive(Debug, Clone)]
pub struct Manager {
    root: Root,
    limit: Duration,
}

impl Manager {
    /// The systemd of `root`: below a folder, the sockets and the program there.
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
        self.ask(Connection::failed_units, Systemctl::failed_units)
    }

    /// The jobs in systemd's queue.
    ///
    /// # Errors
    /// If systemd does not answer.
    pub fn jobs(&self) -> Result<Vec<Job>, String> {
        self.ask(Connection::jobs, Systemctl::jobs)
    }

    /// Has systemd feed the hardware watchdog, with `limit` until it resets the machine, as
    /// `RuntimeWatchdogSec=` does.
    ///
    /// # Errors
    /// If systemd does not answer.
    pub fn feed_watchdog(&self, limit: Duration) -> Result<(), String> {
        Connection::open(&self.root, self.limit)
            .and_then(|mut bus| bus.feed_watchdog(limit))
            .map_err(|e| e.to_string())
    }

    fn ask<T>(
        &self,
        on_bus: impl FnOnce(&mut Connection) -> Result<T, DbusError>,
        by_program: impl FnOnce(&Systemctl) -> Result<T, String>,
    ) -> Result<T, String> {
        // If the first way times out, half of the time is left for the second.
        let half = self.limit / 2;
        let error = match Connection::open(&self.root, half).and_then(|mut bus| on_bus(&mut bus)) {
            Ok(answer) => return Ok(answer),
            Err(error) => error,
        };
        debug!("{error}; asking systemctl");
        let answer = by_program(&Systemctl::new(&self.root, self.limit.saturating_sub(half)));
        answer.map_err(|why| match error {
            DbusError::Unusable(_) => why,
            DbusError::TimedOut(timeout) => timeout,
        })
    }
}

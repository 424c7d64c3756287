//! The hardware watchdog, which systemd's manager object feeds.

use std::time::Duration;

use zvariant::Value;

use crate::systemd::dbus::connection::Connection;
use crate::systemd::dbus::error::DbusError;
use crate::systemd::dbus::message::Call;

impl Connection {
    /// As [`crate::systemd::Manager::feed_watchdog`].
    pub fn feed_watchdog(&mut self, limit: Duration) -> Result<(), DbusError> {
        let usec = Value::U64(u64::try_from(limit.as_micros()).unwrap_or(u64::MAX));
        let call = Call::set_of_manager(&(Call::MANAGER, "RuntimeWatchdogUSec", usec))?;
        self.call(&call).map(drop)
    }
}

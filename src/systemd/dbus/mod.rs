//! systemd's D-Bus interface (org.freedesktop.systemd1(5)) over systemd's own socket, which works without
//! a bus, or over the system bus, which any user may use.

mod connection;
mod error;
mod message;
mod units;
mod values;
mod watchdog;

pub use connection::Connection;
pub use error::DbusError;

//! systemd: its units, its journal, its notifications and its timers, and the programs that talk to it.

pub mod child;
mod dbus;
pub mod inhibitors;
pub mod journal;
mod manager;
pub mod notify;
pub mod reboot;
mod systemctl;
pub mod transient_timer;
mod unit;
pub mod unit_files;

pub use manager::Manager;
pub use systemctl::{Systemctl, start};
pub use unit::{Job, Properties};

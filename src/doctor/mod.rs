//! The problems that would prevent an update or a rollback on this machine, each with its remedy.
//!
//! [`examine`] looks for all of them. Each kind of finding has its file, with a pure function (`look`) that takes what
//! was read. [`fix`] repairs.

mod addons;
mod boot_complete;
mod clock;
mod cmdline;
mod configuration;
mod esp;
mod esp_check;
mod examine;
mod feed;
mod finding;
mod firmware;
pub mod fix;
mod initramfs;
mod layout;
mod loader;
mod mounted;
mod names;
mod panic;
mod pinned;
mod proxy;
mod room;
mod root_hash;
mod running_entry;
mod second_table;
mod secure_boot;
mod slots;
mod trust;
mod watchdog;
mod wrong_root;

pub use examine::examine;
pub use finding::{Finding, Severity};

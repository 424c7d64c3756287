//! Guest images and a typed driver for QEMU/OVMF machines.
//!
//! A [`Machine`] is switched off: its disk and its EFI variables are files that can be looked at
//! and changed. [`Machine::start`] turns it into a [`Running`] one, which can be watched, told
//! what to do, reset and have its power cut; [`Running::cut_power`] gives the [`Machine`] back.
//! So the type says when the disk may be touched from outside.
//!
//! QEMU always runs with its code translator (TCG): the tests must behave the same on machines
//! with and without hardware virtualisation.

mod agent;
mod case_file;
mod channel;
mod command_line;
pub mod console;
pub mod cpio;
pub mod decision;
pub mod disk;
mod error;
pub mod esp;
pub mod fat;
pub mod http;
pub mod judge;
mod machine;
pub mod paths;
pub mod pe;
pub mod probe;
mod qmp;
mod running;
pub mod sectors;
pub mod seed;
pub mod slots;
pub mod small_disk;
mod snapshot;
mod spawn;
pub mod table;
mod timeline;
pub mod tiny;
pub mod write_log;

pub use agent::Output;
pub use command_line::{Firmware, Hardware, Network};
pub use error::{Error, Result};
pub use machine::Machine;
pub use running::Running;
pub use snapshot::Snapshot;
pub use timeline::{Boot, Event};

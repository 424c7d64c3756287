//! Block devices: which partitions are the two slots, and which of them runs.

pub mod area;
pub mod partitions;
mod root_arg;
mod running;
pub mod slot;
pub mod slot_name;

pub use area::{Area, Role};
pub use partitions::is_sysupdate_root;
pub use root_arg::RootArg;
pub use slot::{Slot, Slots};
pub use slot_name::SlotName;

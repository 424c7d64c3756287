//! Block devices: the two slots, and the partition table they stand in.

pub mod area;
#[cfg(feature = "full")]
pub mod direct;
#[cfg(feature = "full")]
pub mod direct_reader;
#[cfg(feature = "full")]
pub mod gpt;
#[cfg(feature = "full")]
pub mod overwrite;
pub mod partitions;
#[cfg(feature = "full")]
mod relabel;
mod root_arg;
mod running;
pub mod slot;
pub mod slot_name;

pub use area::{Area, Role};
pub use partitions::is_sysupdate_root;
pub use root_arg::RootArg;
pub use slot::{Slot, Slots};
pub use slot_name::SlotName;

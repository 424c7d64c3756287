//! Disks: which partitions are the two slots, and which of the slots runs.

pub mod area;
pub mod block;
pub mod gpt;
mod labelled;
pub mod links;
pub mod root_arg;
mod running;
pub mod slot;
pub mod slot_name;

#[cfg(test)]
pub(crate) mod tests;

pub use area::Area;
pub use labelled::is_sysupdate_root;
pub use root_arg::RootArg;
pub use slot::{Slot, Slots};
pub use slot_name::SlotName;

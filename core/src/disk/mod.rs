//! Disks: which partitions are the two slots, and which of the slots runs.

pub mod area;
pub mod block;
mod dm_ioctl;
pub mod gpt;
mod labelled;
pub mod layout;
pub mod links;
pub mod mapping;
pub mod own_tree;
pub mod root_arg;
mod running;
pub mod slot;
pub mod slot_name;
pub mod superblock;

#[cfg(test)]
pub(crate) mod tests;

pub use area::Area;
pub use labelled::is_sysupdate_root;
pub use layout::{Layout, LayoutKind};
pub use own_tree::{HashFile, Luks, OwnTree};
pub use root_arg::RootArg;
pub use slot::{Slot, Slots};
pub use slot_name::SlotName;

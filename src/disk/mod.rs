//! Partitions and the slots that they make up.

pub mod slot_name;

pub use slot_name::SlotName;

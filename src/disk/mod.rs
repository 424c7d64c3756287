//! Writing to block devices and their partition table.

pub mod direct;
pub mod direct_reader;
pub mod extent;
pub mod gpt;
pub mod mounted_root;
pub mod overwrite;
pub mod relabel;
pub mod role;
pub mod table_change;
pub mod verity;

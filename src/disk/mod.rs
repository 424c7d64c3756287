//! Writing to block devices and their partition table.

pub mod direct;
pub mod direct_reader;
pub mod ext4;
pub mod extent;
pub mod gpt;
pub mod hash_file;
pub mod hash_tree;
mod header_lock;
pub mod luks2;
pub mod mounted_root;
pub mod overwrite;
mod pages;
pub mod relabel;
pub mod role;
pub mod slot_layout;
pub mod table_change;
pub mod verity;

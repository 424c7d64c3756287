//! ESP and XBOOTLDR: where they are, what is on them, and changes to FAT that survive a power cut.

pub mod addons;
mod aliases;
mod array;
mod automount;
pub mod directory_end;
pub mod directory_entries;
pub mod dirs;
pub mod entries;
pub mod fat;
mod locate;
mod padding;
pub mod partitions;
pub mod safe_rename;
pub mod volume;

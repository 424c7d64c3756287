//! The partitions that a slot is made of.

use std::path::PathBuf;

/// One partition of a slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Area {
    /// What to open: a block device, or with `--root` perhaps a plain file.
    pub device: PathBuf,
    /// The same as the tree's own path, for messages and comparisons: `/dev/sda2`.
    pub node: String,
    /// The partition's label.
    pub label: String,
    /// In bytes.
    pub size: u64,
}

//! The partitions that a slot is made of.

use std::fmt;
use std::path::PathBuf;

/// What a partition of a slot holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// The root file system.
    Root,
    /// Its dm-verity hashes.
    Verity,
    /// The signature of their root hash.
    VeritySig,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Root => "root",
            Self::Verity => "verity hashes",
            Self::VeritySig => "verity signature",
        })
    }
}

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

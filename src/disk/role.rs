//! The partitions of a slot by what they hold.

use std::fmt;

use abide_core::disk::{Area, Slot};

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

impl Role {
    /// The partition of `slot` with this role, if the slot has one.
    #[must_use]
    pub fn area(self, slot: &Slot) -> Option<Area> {
        match self {
            Self::Root => Some(root_area(slot)),
            Self::Verity => slot.verity.clone(),
            Self::VeritySig => slot.verity_sig.clone(),
        }
    }
}

/// The partition of a slot's root.
#[must_use]
pub fn root_area(slot: &Slot) -> Area {
    let Slot { device, node, label, size, .. } = slot.clone();
    Area { device, node, label, size }
}

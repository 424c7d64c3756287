//! The names of the two slots.

use std::fmt;

use serde::{Deserialize, Serialize};

/// One of the two copies of the operating system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SlotName {
    /// Slot `a`.
    A,
    /// Slot `b`.
    B,
}

impl SlotName {
    /// Both, in order.
    pub const ALL: [Self; 2] = [Self::A, Self::B];

    /// The one that this is not.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }
}

impl fmt::Display for SlotName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::A => "a",
            Self::B => "b",
        })
    }
}

//! `[slots]`: which partitions hold the two roots, where their labels do not say so by themselves.

use crate::config::section::Section;
use crate::error::Result;

/// The partition labels of the roots of the slots `a` and `b`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlotLabels {
    /// The label of slot `a`'s root.
    pub a: String,
    /// The label of slot `b`'s root.
    pub b: String,
}

impl SlotLabels {
    pub(super) fn read(section: &mut Section<'_>) -> Result<Self> {
        let (a, b) = (section.text("a")?, section.text("b")?);
        match (a, b) {
            (Some(a), Some(b)) if a != b => Ok(Self { a, b }),
            (Some(_), Some(_)) => Err(section.error("a and b are the same partition label")),
            _ => Err(section.error("needs both a and b, the partition labels of the two roots")),
        }
    }
}

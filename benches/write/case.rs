//! What is measured.

const GIB: u64 = 1 << 30;

/// What the slot holds before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Something else everywhere.
    Full,
    /// The image, but for three bytes in a hundred.
    Some,
    /// The image.
    None,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Case {
    pub change: Change,
    /// No block of zeros; otherwise three quarters are zeros, as in the root of a real image.
    pub dense: bool,
    /// Bytes of the root.
    pub size: u64,
    pub runs: usize,
}

impl Case {
    pub fn name(&self) -> String {
        let change = match self.change {
            Change::Full => "full",
            Change::Some => "changed",
            Change::None => "identical",
        };
        format!("{change}-{}-{}", self.kind(), self.size_name())
    }

    pub fn kind(&self) -> &'static str {
        if self.dense { "dense" } else { "sparse" }
    }

    pub fn size_name(&self) -> String {
        if self.size >= GIB { format!("{}G", self.size / GIB) } else { format!("{}M", self.size >> 20) }
    }
}

const fn case(change: Change, dense: bool, size: u64, runs: usize) -> Case {
    Case { change, dense, size, runs }
}

pub const CASES: [Case; 8] = [
    case(Change::Full, false, GIB, 5),
    case(Change::Full, true, GIB, 5),
    case(Change::Some, false, GIB, 1),
    case(Change::Some, true, GIB, 1),
    case(Change::None, false, GIB, 1),
    case(Change::None, true, GIB, 1),
    case(Change::Full, false, GIB / 4, 3),
    case(Change::Full, false, 8 * GIB, 1),
];

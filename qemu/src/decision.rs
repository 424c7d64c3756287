//! What a loader is asked and what it decides.

use std::collections::BTreeMap;

/// What the loader finds when it is started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Case {
    /// A disk of [`small_disk::create`](crate::small_disk::create).
    pub disk: Vec<u8>,
    /// The loader's variables that are set, as raw bytes.
    pub variables: Vec<(String, Vec<u8>)>,
}

/// How the loader ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LoaderEnd {
    /// It starts an image.
    Started {
        /// The number of the partition that the image lies on: 1 is the ESP, 2 XBOOTLDR.
        partition: u32,
        /// The image's path, with `\`.
        path: String,
        /// The text that the image is given, if any.
        options: String,
    },
    /// It comes back with this EFI status.
    Returned(u64),
    /// It resets the machine.
    Reset,
}

/// What the loader decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// How it ended.
    pub end: LoaderEnd,
    /// Its variables afterwards, as raw bytes.
    pub variables: BTreeMap<String, Vec<u8>>,
    /// The disk afterwards.
    pub disk: Vec<u8>,
}

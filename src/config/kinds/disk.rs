//! `kind = "disk"`: a file system has room and can be written.

use abide_core::config::section::Section;
use abide_core::error::Result;

/// `kind = "disk"`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiskCheck {
    /// Absolute path of anything on the file system.
    pub path: String,
    /// Bytes that must be free for everyone.
    pub free: Option<u64>,
    /// Percent of the file system that must be free, 1 to 100.
    pub free_percent: Option<u32>,
    /// Files that must still find room.
    pub free_inodes: Option<u64>,
    /// Whether a file system that is mounted read-only fails, as after an error.
    pub writable: bool,
}

impl DiskCheck {
    pub(in crate::config) fn read(section: &mut Section<'_>) -> Result<Self> {
        Ok(Self {
            path: section.needed_path("path")?,
            free: section.size("free")?,
            free_percent: section.count("free_percent", 1..=100)?,
            free_inodes: section.size("free_inodes")?,
            writable: section.flag("writable")?.unwrap_or(true),
        })
    }
}

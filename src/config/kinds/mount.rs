//! `kind = "mount"`: a file system is mounted.

use abide_core::config::section::Section;
use abide_core::error::Result;

/// `kind = "mount"`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountCheck {
    /// Absolute path of the mount point.
    pub path: String,
    /// The type of the file system.
    pub fs_type: Option<String>,
    /// Whether it must be mounted for writing.
    pub writable: bool,
}

impl MountCheck {
    pub(in crate::config) fn read(section: &mut Section<'_>) -> Result<Self> {
        Ok(Self {
            path: section.needed_path("path")?,
            fs_type: section.text("type")?,
            writable: section.flag("writable")?.unwrap_or(false),
        })
    }
}

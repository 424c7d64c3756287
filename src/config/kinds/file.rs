//! `kind = "file"`: a file is as it should be.

use abide_core::config::section::Section;
use abide_core::error::Result;

/// `kind = "file"`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileCheck {
    /// Absolute path of the file or folder.
    pub path: String,
    /// Whether it must be there, or must not.
    pub exists: bool,
    /// Whether it must have been written since the start of the kernel.
    pub newer_than_boot: bool,
    /// A text that it must contain.
    pub contains: Option<String>,
}

impl FileCheck {
    pub(in crate::config) fn read(section: &mut Section<'_>) -> Result<Self> {
        let check = Self {
            path: section.needed_path("path")?,
            exists: section.flag("exists")?.unwrap_or(true),
            newer_than_boot: section.flag("newer_than_boot")?.unwrap_or(false),
            contains: section.text("contains")?,
        };
        match !check.exists && (check.newer_than_boot || check.contains.is_some()) {
            true => Err(section.error_at("exists", "a file that must not exist can have no other property")),
            false => Ok(check),
        }
    }
}

//! `kind = "file"`: a file exists, is fresh, and contains a text.

use abide_core::config::form::{Flag, Optional, Text};
use abide_core::config::section::Section;
use abide_core::error::Result;

use crate::config::forms::AbsolutePath;
use crate::config::table::settings;

settings! {
    /// `kind = "file"`.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct FileCheck checked by can_be {
        /// The file or folder.
        pub path: AbsolutePath, example "/data/ready";
        /// Whether it must exist. `false`: it must not exist.
        pub exists: Flag = true;
        /// Whether it must have been written since the start of the kernel.
        pub newer_than_boot: Flag = false;
        /// A text that it must contain.
        pub contains: Optional<Text> = None, example "ok";
    }
}

impl FileCheck {
    fn can_be(&self, section: &Section<'_>) -> Result<()> {
        if !self.exists && (self.newer_than_boot || self.contains.is_some()) {
            return Err(section.error_at("exists", "a file that must not exist can have no other property"));
        }
        Ok(())
    }
}

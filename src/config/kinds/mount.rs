//! `kind = "mount"`: a file system is mounted.

use abide_core::config::form::{Flag, Optional, Text};

use crate::config::forms::AbsolutePath;
use crate::config::table::settings;

settings! {
    /// `kind = "mount"`.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct MountCheck {
        /// The mount point.
        pub path: AbsolutePath, example "/data";
        /// The type of the file system.
        pub fs_type as "type": Optional<Text> = None, otherwise "any", example "ext4";
        /// Whether both the mount and the file system must be writable.
        pub writable: Flag = false;
    }
}

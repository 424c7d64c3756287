//! `kind = "disk"`: a file system has free space and can be written.

use abide_core::config::form::{Count, Flag, Optional};

use crate::config::forms::{AbsolutePath, Size};
use crate::config::table::settings;

settings! {
    /// `kind = "disk"`.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct DiskCheck {
        /// Any path on the file system.
        pub path: AbsolutePath, example "/data";
        /// How many bytes must be free for unprivileged users.
        pub free: Optional<Size> = None, example "512M";
        /// How much of the file system must be free for unprivileged users, in percent.
        pub free_percent: Optional<Count<1, 100>> = None, example 10;
        /// How many inodes must be free. Each new file needs one.
        pub free_inodes: Optional<Size> = None, example "10K";
        /// Whether the check fails if the file system is mounted read-only or has become read-only.
        pub writable: Flag = true;
    }
}

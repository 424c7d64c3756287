//! The kinds that look at the machine itself.

use std::time::Duration;

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

/// `kind = "kernel"`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KernelCheck {
    /// The taints that fail.
    pub taints: Vec<Taint>,
    /// Whether the kernel's log is searched for crashes and lockups.
    pub log: bool,
}

/// What may have tainted the kernel (Linux, Documentation/admin-guide/tainted-kernels.rst).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taint {
    /// A machine check exception.
    MachineCheck,
    /// A page in a bad state.
    BadPage,
    /// An oops or BUG.
    Die,
    /// A warning.
    Warn,
    /// A module from outside the kernel's tree.
    OutOfTree,
    /// An unsigned module.
    Unsigned,
    /// A soft lockup.
    Lockup,
}

/// `kind = "clock"`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClockCheck {
    /// The largest error that the kernel may estimate.
    pub max_error: Option<Duration>,
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

impl MountCheck {
    pub(in crate::config) fn read(section: &mut Section<'_>) -> Result<Self> {
        Ok(Self {
            path: section.needed_path("path")?,
            fs_type: section.text("type")?,
            writable: section.flag("writable")?.unwrap_or(false),
        })
    }
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

impl KernelCheck {
    pub(in crate::config) fn read(section: &mut Section<'_>) -> Result<Self> {
        let words = [
            ("machine-check", Taint::MachineCheck),
            ("bad-page", Taint::BadPage),
            ("die", Taint::Die),
            ("warn", Taint::Warn),
            ("out-of-tree", Taint::OutOfTree),
            ("unsigned", Taint::Unsigned),
            ("lockup", Taint::Lockup),
        ];
        Ok(Self {
            taints: section
                .words("taints", &words)?
                .unwrap_or_else(|| vec![Taint::MachineCheck, Taint::BadPage, Taint::Die, Taint::Lockup]),
            log: section.flag("log")?.unwrap_or(true),
        })
    }
}

impl ClockCheck {
    pub(in crate::config) fn read(section: &mut Section<'_>) -> Result<Self> {
        Ok(Self { max_error: section.duration("max_error")? })
    }
}

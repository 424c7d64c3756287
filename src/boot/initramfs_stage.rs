//! Whether Abide's stage ran in the initramfs of this boot.

use abide_core::error::Result;
use abide_core::root::Root;
use abide_core::state::{BootNote, run_file};

/// Exists where the note of this boot was not made in the initramfs.
pub const LATE: &str = "/run/abide/late";

/// Notes that what this boot is was found out after the initramfs.
///
/// # Errors
/// [`abide_core::error::Error::Failed`] if `/run/abide` cannot be written.
pub fn mark_late(root: &Root) -> Result<()> {
    run_file::write(root, LATE, "")
}

/// Whether the stage ran in the initramfs and found out what this boot is.
#[must_use]
pub fn ran(root: &Root) -> bool {
    BootNote::read(root).is_some() && !root.path(LATE).exists()
}

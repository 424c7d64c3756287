//! Whether Abide's stage ran in the initramfs of this boot.

use std::fs;

use abide_core::error::{OrError, Result};
use abide_core::root::Root;
use abide_core::state::BootNote;

/// Exists where the note of this boot was not made in the initramfs.
const LATE: &str = "/run/abide/late";

/// Notes that what this boot is was found out after the initramfs.
///
/// # Errors
/// [`abide_core::error::Error::Failed`] if `/run/abide` cannot be written.
pub fn mark_late(root: &Root) -> Result<()> {
    let path = root.path(LATE);
    if let Some(dir) = path.parent() {
        fs::create_dir_all(dir).or_failed(|| format!("{}: cannot create", dir.display()))?;
    }
    fs::write(&path, "").or_failed(|| format!("{}: cannot write", path.display()))
}

/// Whether the stage ran in the initramfs and found out what this boot is.
#[must_use]
pub fn ran(root: &Root) -> bool {
    BootNote::read(root).is_some() && !root.path(LATE).exists()
}

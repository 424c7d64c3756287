//! Files in `/run`: what is known of this boot, and is gone with it.

use std::fs;

use crate::error::{OrError, Result};
use crate::root::Root;

/// Writes a file, and the folder that it is in where that is missing.
///
/// # Errors
/// [`crate::error::Error::Failed`] if it cannot be written.
pub fn write(root: &Root, path: &str, text: &str) -> Result<()> {
    let path = root.path(path);
    if let Some(dir) = path.parent() {
        fs::create_dir_all(dir).or_failed(|| format!("{}: cannot create", dir.display()))?;
    }
    fs::write(&path, text).or_failed(|| format!("{}: cannot write", path.display()))
}

//! Files that are replaced as a whole.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use crate::error::{OrError, Result};

/// Replaces a file as a whole, durably: a reader, or the next boot, sees the old one or the new one.
/// Makes its folder where that is missing.
///
/// # Errors
/// [`crate::error::Error::Failed`] if it cannot be written; the old one is there then.
pub fn replace(path: &Path, bytes: &[u8]) -> Result<()> {
    let what = || format!("{}: cannot write", path.display());
    let dir = path.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(dir).or_failed(what)?;
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let new = path.with_file_name(name);
    let mut file = File::create(&new).or_failed(what)?;
    file.write_all(bytes).and_then(|()| file.sync_all()).or_failed(what)?;
    fs::rename(&new, path).or_failed(what)?;
    sync_dir(dir).or_failed(what)
}

/// Makes the names in a folder durable.
///
/// # Errors
/// If it cannot be opened or flushed.
pub fn sync_dir(dir: &Path) -> std::io::Result<()> {
    File::open(dir)?.sync_all()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_file_is_replaced_and_its_folder_made() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b/file");
        for text in ["one", "two"] {
            replace(&path, text.as_bytes()).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }
}

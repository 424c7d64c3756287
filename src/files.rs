//! Small files: replaced as a whole, removed where they are, read and written as JSON.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;

use abide_core::error::{OrError, Result};

/// Who may read a file that is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Everybody.
    Everybody,
    /// Its owner only.
    Owner,
}

/// Replaces a file as a whole, durably: a reader, or the next boot, sees the old one or the new one.
/// Creates its folder where that is missing.
///
/// # Errors
/// [`abide_core::error::Error::Failed`] if it cannot be written; the old one remains.
pub fn replace(path: &Path, bytes: &[u8]) -> Result<()> {
    replace_for(path, bytes, Access::Everybody)
}

fn replace_for(path: &Path, bytes: &[u8], access: Access) -> Result<()> {
    let what = || format!("{}: cannot write", path.display());
    let dir = path.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(dir).or_failed(what)?;
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let new = path.with_file_name(name);
    let mut options = File::options();
    options.write(true).create(true).truncate(true);
    if access == Access::Owner {
        // The mode of a file that is there already, after an interruption, would stay.
        remove(&new)?;
        options.create_new(true).mode(0o600);
    }
    let mut file = options.open(&new).or_failed(what)?;
    file.write_all(bytes).and_then(|()| file.sync_all()).or_failed(what)?;
    fs::rename(&new, path).or_failed(what)?;
    sync_dir(dir).or_failed(what)
}

/// Removes a file; succeeds if there is none.
///
/// # Errors
/// [`abide_core::error::Error::Failed`] if it is there and cannot be removed.
pub fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != ErrorKind::NotFound => {
            Err(e).or_failed(|| format!("{}: cannot remove", path.display()))
        }
        _ => Ok(()),
    }
}

/// Reads a text file; none if there is no such file.
///
/// # Errors
/// [`abide_core::error::Error::Failed`] if it is there and cannot be read, or is not UTF-8.
pub fn read_text(path: &Path) -> Result<Option<String>> {
    match fs::read_to_string(path) {
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
        other => other.map(Some).or_failed(|| format!("{}: cannot read", path.display())),
    }
}

/// Reads a JSON file; none if there is no such file.
///
/// # Errors
/// [`abide_core::error::Error::Failed`] if it is there and cannot be read or parsed.
pub fn read_json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>> {
    let Some(text) = read_text(path)? else { return Ok(None) };
    serde_json::from_str(&text).map(Some).or_failed(|| format!("{}: cannot parse", path.display()))
}

/// Replaces a JSON file as [`replace`] does. Writes nothing if the file holds that value already.
///
/// # Errors
/// [`abide_core::error::Error::Failed`] if it cannot be written.
pub fn write_json<T: Serialize + ?Sized>(path: &Path, value: &T) -> Result<()> {
    write_json_for(path, value, Access::Everybody)
}

/// As [`write_json`], for those who may read it.
///
/// # Errors
/// [`abide_core::error::Error::Failed`] if it cannot be written.
pub fn write_json_for<T: Serialize + ?Sized>(path: &Path, value: &T, access: Access) -> Result<()> {
    let bytes = serde_json::to_vec(value).or_failed(|| format!("{}: cannot encode", path.display()))?;
    if fs::read(path).is_ok_and(|old| old == bytes) {
        return Ok(());
    }
    replace_for(path, &bytes, access)
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
    use std::os::unix::fs::{MetadataExt, PermissionsExt};

    use super::*;

    #[test]
    fn a_file_for_its_owner_is_never_readable_by_others() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        fs::write(dir.path().join("file.new"), "left by an interruption").unwrap();
        for (text, access, mode) in [("one", Access::Owner, 0o600), ("two", Access::Owner, 0o600)] {
            write_json_for(&path, text, access).unwrap();
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, mode);
        }
    }

    #[test]
    fn a_file_is_replaced_and_its_folder_created() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b/file");
        for text in ["one", "two"] {
            replace(&path, text.as_bytes()).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn a_missing_file_is_no_error_to_a_reader_nor_to_a_removal() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        assert_eq!(read_json::<Vec<u32>>(&path).unwrap(), None);
        remove(&path).unwrap();
        write_json(&path, &[1, 2]).unwrap();
        assert_eq!(read_json::<Vec<u32>>(&path).unwrap(), Some(vec![1, 2]));
        remove(&path).unwrap();
        assert_eq!(read_text(&path).unwrap(), None);
        // A file is no folder to look into.
        fs::write(&path, "{").unwrap();
        assert!(remove(&path.join("x")).unwrap_err().to_string().contains("cannot remove"));
        assert!(read_json::<Vec<u32>>(&path).unwrap_err().to_string().contains("cannot parse"));
    }

    #[test]
    fn the_same_value_is_not_written_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        write_json(&path, "one").unwrap();
        let before = fs::metadata(&path).unwrap().ino();
        write_json(&path, "one").unwrap();
        assert_eq!(fs::metadata(&path).unwrap().ino(), before);
        write_json(&path, "two").unwrap();
        assert_eq!(read_json::<String>(&path).unwrap().as_deref(), Some("two"));
    }
}

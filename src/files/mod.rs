//! Small files: replaced as a whole, removed where they are, read and written as JSON.
//!
//! Somebody else may write to some of the folders: the cache of the downloader, the folder of the metrics. So all
//! files are accessed as [`OpenFolder`] does, and no more of them is read than they can have.

mod open_folder;

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;

use abide_core::error::{OrError, Result};

pub use open_folder::{Access, OpenFolder};

/// The largest file that Abide writes for itself.
const MAX: u64 = 16 << 20;

/// Replaces a file as a whole, durably: a reader, or the next boot, sees the old one or the new one.
/// Creates its folder where that is missing.
///
/// # Errors
/// [`abide_core::error::Error::Failed`] if it cannot be written; the old one remains.
pub fn replace(path: &Path, bytes: &[u8]) -> Result<()> {
    replace_for(path, bytes, Access::Everybody)
}

fn replace_for(path: &Path, bytes: &[u8], access: Access) -> Result<()> {
    let folder_of = OpenFolder::create(folder(path));
    let written = folder_of.and_then(|folder| folder.replace(name(path), bytes, access));
    written.or_failed(|| format!("{}: cannot write", path.display()))
}

/// Removes a file; succeeds if there is none.
///
/// # Errors
/// [`abide_core::error::Error::Failed`] if it is there and cannot be removed.
pub fn remove(path: &Path) -> Result<()> {
    match OpenFolder::find(folder(path)).and_then(|folder| folder.remove(name(path))) {
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(()),
        other => other.or_failed(|| format!("{}: cannot remove", path.display())),
    }
}

/// Opens a regular file, never through a link; none if there is no such file.
///
/// # Errors
/// If it cannot be opened, or is of an unexpected kind or owner.
pub fn open(path: &Path) -> std::io::Result<Option<File>> {
    match OpenFolder::find(folder(path)).and_then(|folder| folder.open(name(path))) {
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
        other => other.map(Some),
    }
}

/// Reads a file; none if there is no such file.
///
/// # Errors
/// [`abide_core::error::Error::Failed`] if it is there and cannot be read, or is larger than any file of Abide.
pub fn read(path: &Path) -> Result<Option<Vec<u8>>> {
    let cannot = || format!("{}: cannot read", path.display());
    let Some(file) = open(path).or_failed(cannot)? else { return Ok(None) };
    bounded(file, MAX).map(Some).or_failed(cannot)
}

/// Reads a text file; none if there is no such file.
///
/// # Errors
/// [`abide_core::error::Error::Failed`] if it is there and cannot be read, or is not UTF-8.
pub fn read_text(path: &Path) -> Result<Option<String>> {
    let Some(bytes) = read(path)? else { return Ok(None) };
    String::from_utf8(bytes).map(Some).or_failed(|| format!("{}: cannot read", path.display()))
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
    if read(path).is_ok_and(|old| old.as_ref() == Some(&bytes)) {
        return Ok(());
    }
    replace_for(path, &bytes, access)
}

/// Opens a file that the administrator has named, for reading. Links are followed. Opening a named pipe does not wait
/// for its other end.
///
/// # Errors
/// If it cannot be opened.
pub fn open_named(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(path)
}

/// Reads a file that the administrator has named, with at most `most` bytes. Links are followed.
///
/// # Errors
/// If it cannot be read, is not a regular file, or is larger.
pub fn read_named(path: &Path, most: u64) -> std::io::Result<Vec<u8>> {
    let file = open_named(path)?;
    if !file.metadata()?.is_file() {
        return Err(std::io::Error::other("is not a regular file"));
    }
    bounded(file, most)
}

fn bounded(file: File, most: u64) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(most + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most {
        return Err(std::io::Error::other(format!("is larger than {} KiB", most >> 10)));
    }
    Ok(bytes)
}

fn folder(path: &Path) -> &Path {
    path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn name(path: &Path) -> &std::ffi::OsStr {
    path.file_name().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::fs;
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

    use super::*;

    #[test]
    fn a_file_for_its_owner_is_never_readable_by_others() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        for text in ["one", "two"] {
            write_json_for(&path, text, Access::Owner).unwrap();
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
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

    #[test]
    fn a_file_that_the_administrator_names_is_read_within_bounds() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        fs::write(&path, "12345").unwrap();
        symlink(&path, dir.path().join("link")).unwrap();
        assert_eq!(read_named(&dir.path().join("link"), 5).unwrap(), b"12345");
        assert!(read_named(&path, 4).unwrap_err().to_string().contains("is larger"));
        // A named pipe without a writer does not hang.
        let pipe = dir.path().join("pipe");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::from_bits_truncate(0o600)).unwrap();
        for other in [pipe.as_path(), dir.path(), Path::new("/dev/zero")] {
            assert!(read_named(other, 5).unwrap_err().to_string().contains("not a regular file"));
        }
    }

    #[test]
    fn a_link_on_the_way_is_followed_only_if_nobody_else_can_replace_it() {
        let dir = tempfile::tempdir().unwrap();
        let real = dir.path().join("real");
        fs::create_dir(&real).unwrap();
        symlink("real", dir.path().join("link")).unwrap();
        symlink(&real, dir.path().join("absolute")).unwrap();
        symlink("../link", real.join("back")).unwrap();
        symlink("self", dir.path().join("self")).unwrap();
        replace(&dir.path().join("absolute/back/file"), b"x").unwrap();
        assert_eq!(fs::read(real.join("file")).unwrap(), b"x");
        assert!(replace(&dir.path().join("self/file"), b"x").is_err());
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o777)).unwrap();
        let error = replace(&dir.path().join("link/file"), b"y").unwrap_err().to_string();
        assert!(error.contains("the link link is not followed"), "{error}");
        assert!(read(&dir.path().join("link/file")).is_err());
        assert_eq!(fs::read(real.join("file")).unwrap(), b"x");
    }
}

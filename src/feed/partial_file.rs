//! A file that is not completely downloaded yet, with the hash of its bytes.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use crate::files;
use crate::image::sha256::Sha256;
use abide_core::error::{OrError, Result};

const BUFFER: usize = 256 << 10;

/// An incomplete file.
pub struct PartialFile {
    path: PathBuf,
    file: File,
    len: u64,
    sha256: Sha256,
}

impl PartialFile {
    /// Opens or creates the file, and hashes its bytes.
    ///
    /// # Errors
    /// [`abide_core::error::Error::Failed`] if it cannot be opened or read.
    pub fn open(path: PathBuf) -> Result<Self> {
        let cannot = || format!("{}: cannot open", path.display());
        let mut options = OpenOptions::new();
        let file =
            options.read(true).write(true).create(true).truncate(false).open(&path).or_failed(cannot)?;
        let mut sha256 = Sha256::default();
        let len = io::copy(&mut BufReader::with_capacity(BUFFER, &file), &mut sha256)
            .or_failed(|| format!("{}: cannot read", path.display()))?;
        Ok(Self { path, file, len, sha256 })
    }

    /// The number of its bytes.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// The SHA-256 of its bytes.
    #[must_use]
    pub fn sha256(&self) -> String {
        self.sha256.clone().finish()
    }

    /// Appends bytes.
    ///
    /// # Errors
    /// [`abide_core::error::Error::Failed`] if it cannot be written.
    pub fn append(&mut self, bytes: &[u8]) -> Result<()> {
        self.file.write_all(bytes).or_failed(|| format!("{}: cannot write", self.path.display()))?;
        self.sha256.update(bytes);
        self.len += bytes.len() as u64;
        Ok(())
    }

    /// Makes its bytes durable.
    ///
    /// # Errors
    /// [`abide_core::error::Error::Failed`] if it cannot be flushed.
    pub fn sync(&self) -> Result<()> {
        self.file.sync_data().or_failed(|| format!("{}: cannot flush", self.path.display()))
    }

    /// Removes all bytes.
    ///
    /// # Errors
    /// [`abide_core::error::Error::Failed`] if it cannot be truncated.
    pub fn restart(&mut self) -> Result<()> {
        let truncated = self.file.set_len(0).and_then(|()| self.file.seek(SeekFrom::Start(0)));
        truncated.or_failed(|| format!("{}: cannot truncate", self.path.display()))?;
        (self.len, self.sha256) = (0, Sha256::default());
        Ok(())
    }

    /// Removes the file.
    ///
    /// # Errors
    /// [`abide_core::error::Error::Failed`] if it cannot be removed.
    pub fn remove(self) -> Result<()> {
        files::remove(&self.path)
    }

    /// Gives the complete file its name, durably.
    ///
    /// # Errors
    /// [`abide_core::error::Error::Failed`] if it cannot be flushed or renamed.
    pub fn rename_to(self, to: &Path) -> Result<()> {
        let cannot = || format!("{}: cannot rename to {}", self.path.display(), to.display());
        self.file.sync_all().and_then(|()| fs::rename(&self.path, to)).or_failed(cannot)?;
        files::sync_dir(to.parent().unwrap_or(Path::new("/"))).or_failed(cannot)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::image::sha256::of_reader;

    fn digest(bytes: &[u8]) -> String {
        of_reader(bytes).unwrap().0
    }

    #[test]
    fn a_partial_file_is_continued_after_it_is_opened_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.part");
        let mut file = PartialFile::open(path.clone()).unwrap();
        assert_eq!((file.len(), file.sha256()), (0, digest(b"")));
        file.append(b"one ").unwrap();
        drop(file);
        let mut file = PartialFile::open(path.clone()).unwrap();
        assert_eq!(file.len(), 4);
        file.append(b"two").unwrap();
        assert_eq!(file.sha256(), digest(b"one two"));
        file.rename_to(&dir.path().join("x")).unwrap();
        assert_eq!(fs::read(dir.path().join("x")).unwrap(), b"one two");
        assert!(!path.exists());
    }

    #[test]
    fn a_restarted_file_is_empty() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.part");
        fs::write(&path, "damaged").unwrap();
        let mut file = PartialFile::open(path.clone()).unwrap();
        file.restart().unwrap();
        file.append(b"ok").unwrap();
        assert_eq!((file.len(), file.sha256()), (2, digest(b"ok")));
        file.sync().unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"ok");
        file.remove().unwrap();
        assert!(!path.exists());
    }
}

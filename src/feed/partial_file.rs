//! A file that is not completely downloaded yet, with the hash of its bytes.

use std::fs::File;
use std::io::{self, BufReader, ErrorKind, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use log::warn;

use crate::files::OpenFolder;
use crate::image::image_digest::ImageDigest;
use abide_core::error::{OrError, Result};

const BUFFER: usize = 256 << 10;

const MODE: u32 = 0o644;

/// An incomplete file.
pub struct PartialFile {
    folder: OpenFolder,
    name: String,
    /// For messages.
    path: PathBuf,
    file: File,
    len: u64,
    sha256: ImageDigest,
}

impl PartialFile {
    /// Opens or creates the file `name`, which begins with the digest that it should have, of the folder `dir`, and hashes its bytes. Replaces anything else of this name,
    /// such as a link.
    ///
    /// # Errors
    /// [`abide_core::error::Error::Failed`] if it cannot be opened or read.
    pub fn open(dir: &Path, name: &str) -> Result<Self> {
        let path = dir.join(name);
        let cannot = || format!("{}: cannot open", path.display());
        let folder = OpenFolder::create(dir).or_failed(cannot)?;
        let file = match folder.open_to_write(name.as_ref(), MODE) {
            Err(e) if e.kind() == ErrorKind::Other => {
                warn!("{}: removed: {e}", path.display());
                let removed = folder.remove(name.as_ref()).or_else(|_| folder.set_aside(name.as_ref()));
                removed.or_failed(cannot)?;
                folder.open_to_write(name.as_ref(), MODE)
            }
            other => other,
        };
        let file = file.or_failed(cannot)?;
        let mut sha256 = digest_for(name);
        let len = io::copy(&mut BufReader::with_capacity(BUFFER, &file), &mut sha256)
            .or_failed(|| format!("{}: cannot read", path.display()))?;
        Ok(Self { folder, name: name.to_owned(), path, file, len, sha256 })
    }

    /// The number of its bytes.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// The SHA-256 of its image.
    #[must_use]
    pub fn sha256(&self) -> String {
        self.sha256.finish()
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
        (self.len, self.sha256) = (0, digest_for(&self.name));
        Ok(())
    }

    /// Removes all bytes but the first `len`; without any, the file itself.
    ///
    /// # Errors
    /// [`abide_core::error::Error::Failed`] if it cannot be truncated or removed.
    pub fn cut(self, len: u64) -> Result<()> {
        if len == 0 {
            return self.remove();
        }
        self.file.set_len(len.min(self.len)).or_failed(|| format!("{}: cannot truncate", self.path.display()))
    }

    /// Removes the file.
    ///
    /// # Errors
    /// [`abide_core::error::Error::Failed`] if it cannot be removed.
    pub fn remove(self) -> Result<()> {
        let removed = self.folder.remove(self.name.as_ref());
        removed.or_failed(|| format!("{}: cannot remove", self.path.display()))
    }

    /// Gives the complete file its name, durably.
    ///
    /// # Errors
    /// [`abide_core::error::Error::Failed`] if it cannot be flushed or renamed.
    pub fn rename_to(self, to: &str) -> Result<()> {
        let renamed = self.file.sync_all().and_then(|()| self.folder.rename(self.name.as_ref(), to.as_ref()));
        renamed.or_failed(|| format!("{}: cannot rename to {to}", self.path.display()))
    }
}

fn digest_for(name: &str) -> ImageDigest {
    ImageDigest::new(name.split('.').next().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::fs;

    use super::*;
    use crate::image::sha256::of_reader;

    fn digest(bytes: &[u8]) -> String {
        of_reader(bytes).unwrap().0
    }

    #[test]
    fn a_partial_file_is_continued_after_it_is_opened_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.part");
        let mut file = PartialFile::open(dir.path(), "x.part").unwrap();
        assert_eq!((file.len(), file.sha256()), (0, digest(b"")));
        file.append(b"one ").unwrap();
        drop(file);
        let mut file = PartialFile::open(dir.path(), "x.part").unwrap();
        assert_eq!(file.len(), 4);
        file.append(b"two").unwrap();
        assert_eq!(file.sha256(), digest(b"one two"));
        file.rename_to("x").unwrap();
        assert_eq!(fs::read(dir.path().join("x")).unwrap(), b"one two");
        assert!(!path.exists());
    }

    #[test]
    fn a_restarted_file_is_empty() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.part");
        fs::write(&path, "damaged").unwrap();
        let mut file = PartialFile::open(dir.path(), "x.part").unwrap();
        file.restart().unwrap();
        file.append(b"ok").unwrap();
        assert_eq!((file.len(), file.sha256()), (2, digest(b"ok")));
        file.sync().unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"ok");
        file.cut(1).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"o");
        PartialFile::open(dir.path(), "x.part").unwrap().cut(0).unwrap();
        assert!(!path.exists());
        let file = PartialFile::open(dir.path(), "x.part").unwrap();
        file.remove().unwrap();
        assert!(!path.exists());
    }
}

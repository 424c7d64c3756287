//! A partition or a UKI with random access: an unpacked file, or a packed one unpacked into a temporary file.

use std::fmt;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use crate::image::names::unpacked;
use crate::image::{Source, Stream};
use abide_core::error::{Error, OrError, Result};

/// A file on the publisher's machine.
pub struct RawFile {
    file: File,
    /// In bytes.
    pub len: u64,
    name: String,
}

impl RawFile {
    /// Opens a file. A packed one is unpacked into a file without a name in `temporary`.
    ///
    /// # Errors
    /// [`Error::Image`] if it cannot be read, [`Error::Failed`] if there is no room to unpack it.
    pub fn open(path: &Path, temporary: &Path) -> Result<Self> {
        let name = path.display().to_string();
        if !is_packed(&name) {
            return Self::open_as_is(path);
        }
        let source = Source::in_folder(&name)?
            .ok_or_else(|| Error::Image(format!("{name}: there is no such file")))?;
        let mut stream = Stream::open(source, None)?;
        let cannot = || format!("{}: cannot unpack {name} there", temporary.display());
        let mut file = tempfile(temporary).or_failed(cannot)?;
        let mut buffer = vec![0; 1 << 20];
        let mut len = 0;
        loop {
            let count = stream.fill(&mut buffer)?;
            file.write_all(buffer.get(..count).unwrap_or_default()).or_failed(cannot)?;
            len += count as u64;
            if count < buffer.len() {
                return Ok(Self { file, len, name });
            }
        }
    }

    /// Opens a file as it is, packed or not.
    ///
    /// # Errors
    /// [`Error::Image`] if it cannot be read.
    pub fn open_as_is(path: &Path) -> Result<Self> {
        let name = path.display().to_string();
        let file = File::open(path).or_image(|| format!("{name}: cannot open"))?;
        let len = file.metadata().or_image(|| format!("{name}: cannot open"))?.len();
        Ok(Self { file, len, name })
    }

    /// A file without a name.
    ///
    /// # Errors
    /// Those of the file.
    pub fn of(file: File) -> io::Result<Self> {
        Ok(Self { len: file.metadata()?.len(), file, name: "a temporary file".to_owned() })
    }

    /// Fills `to` with the bytes from `offset` on.
    ///
    /// # Errors
    /// Those of reading the file.
    pub fn read_at(&self, to: &mut [u8], offset: u64) -> io::Result<()> {
        self.file
            .read_exact_at(to, offset)
            .map_err(|e| io::Error::new(e.kind(), format!("{}: {e}", self.name)))
    }
}

impl fmt::Display for RawFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

/// Whether a file of this name is packed.
pub fn is_packed(name: &str) -> bool {
    unpacked(name) != name
}

/// A file without a name.
pub fn tempfile(folder: &Path) -> io::Result<File> {
    File::options().read(true).write(true).mode(0o600).custom_flags(libc::O_TMPFILE).open(folder)
}

//! Keeps bytes for random access: the blocks that are not all zeros, in memory up to a limit, else in a
//! temporary file without a name.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use abide_core::boot::esp::fat::disk::ReadAt;
use abide_core::error::{Error, OrError, Result};

const BLOCK: usize = 64 * 1024;

/// Bytes that are kept in memory before the file is used.
pub const MAX_MEMORY: usize = 16 << 20;

/// Bytes of blocks that are not empty: a UKI and what else an ESP may have is far smaller.
const MAX_KEPT: u64 = 1 << 30;

/// A sparse copy of a sequence of bytes; read-only once it is filled.
#[derive(Debug)]
pub struct Spool {
    /// Folders for the file; the first one that can be written is used.
    dirs: Vec<PathBuf>,
    max_memory: usize,
    blocks: BTreeMap<u64, Place>,
    in_memory: usize,
    file: Option<File>,
    /// Bytes of blocks that are not empty.
    kept: u64,
    /// How many of them there may be.
    most: u64,
    len: u64,
}

#[derive(Debug)]
enum Place {
    Memory(Box<[u8]>),
    /// In the file, at the same offset as in the original.
    File,
}

impl Spool {
    /// An empty spool that may create a file in one of `dirs`.
    #[must_use]
    pub fn new(dirs: Vec<PathBuf>) -> Self {
        Self {
            dirs,
            max_memory: MAX_MEMORY,
            blocks: BTreeMap::new(),
            in_memory: 0,
            file: None,
            kept: 0,
            most: MAX_KEPT,
            len: 0,
        }
    }

    /// Keeps `len` bytes from `fill`, which fills the whole buffer or fails.
    ///
    /// # Errors
    /// Those of `fill`, and if the temporary file cannot be written.
    pub fn keep_all(&mut self, len: u64, mut fill: impl FnMut(&mut [u8]) -> Result<()>) -> Result<()> {
        let mut block = vec![0; BLOCK];
        let mut left = len;
        while left > 0 {
            let count = usize::try_from(left).unwrap_or(usize::MAX).min(BLOCK);
            let part = block.get_mut(..count).unwrap_or_default();
            fill(part)?;
            self.keep(part).or_image(|| "cannot keep the image's boot partition in a temporary file")?;
            left -= count as u64;
        }
        Ok(())
    }

    /// Keeps all bytes from `fill`, until it does not fill its buffer.
    ///
    /// # Errors
    /// As [`Spool::keep_all`], and [`Error::Image`] after more than `most` bytes.
    pub fn keep_to_end(&mut self, most: u64, mut fill: impl FnMut(&mut [u8]) -> Result<usize>) -> Result<()> {
        let mut block = vec![0; BLOCK];
        loop {
            let count = fill(&mut block)?;
            let part = block.get(..count).unwrap_or_default();
            self.keep(part).or_image(|| "cannot keep the image's UKI in a temporary file")?;
            if self.len > most {
                return Err(Error::Image(format!("the image's UKI has more than {most} bytes")));
            }
            if count < BLOCK {
                return Ok(());
            }
        }
    }

    /// The number of bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.len
    }

    /// Reads from the beginning.
    #[must_use]
    pub fn reader(&self) -> SpoolReader<'_> {
        SpoolReader { spool: self, position: 0 }
    }

    fn read_at(&self, to: &mut [u8], position: u64) -> io::Result<usize> {
        let index = position / BLOCK as u64;
        let inside = usize::try_from(position % BLOCK as u64).unwrap_or(0);
        let left = usize::try_from(self.len.saturating_sub(position)).unwrap_or(usize::MAX);
        let count = to.len().min(BLOCK - inside).min(left);
        let to = to.get_mut(..count).unwrap_or_default();
        match self.blocks.get(&index) {
            None => to.fill(0),
            Some(Place::Memory(block)) => {
                let from = block.get(inside..inside + count).unwrap_or_default();
                to.split_at_mut(from.len()).0.copy_from_slice(from);
            }
            Some(Place::File) => {
                if let Some(file) = &self.file {
                    file.read_exact_at(to, position)?;
                }
            }
        }
        Ok(count)
    }

    fn check_bound(&self) -> io::Result<()> {
        if self.kept <= self.most {
            return Ok(());
        }
        let text = format!("it has more than {} MiB, of which so much can be kept", self.most >> 20);
        Err(io::Error::new(io::ErrorKind::FileTooLarge, text))
    }

    fn keep(&mut self, block: &[u8]) -> io::Result<()> {
        let index = self.len / BLOCK as u64;
        let offset = self.len;
        self.len += block.len() as u64;
        if block.iter().all(|b| *b == 0) {
            return Ok(());
        }
        self.kept += block.len() as u64;
        self.check_bound()?;
        if self.file.is_none() && self.in_memory + block.len() <= self.max_memory {
            self.in_memory += block.len();
            self.blocks.insert(index, Place::Memory(block.into()));
            return Ok(());
        }
        if self.file.is_none() {
            let file = unnamed_file(&self.dirs)?;
            self.most = self.most.min(self.in_memory as u64 + room(&file)?);
            self.file = Some(file);
            self.check_bound()?;
        }
        if let Some(file) = &self.file {
            file.write_all_at(block, offset)?;
        }
        self.blocks.insert(index, Place::File);
        Ok(())
    }
}

/// The part of the free space that the file may take: other programs need the rest meanwhile.
fn room(file: &File) -> io::Result<u64> {
    let stat = nix::sys::statvfs::fstatvfs(file)?;
    Ok(stat.blocks_available().saturating_mul(stat.fragment_size()) / 4 * 3)
}

/// A file that no other process can open and that is deleted when this process ends.
fn unnamed_file(dirs: &[PathBuf]) -> io::Result<File> {
    let mut last = io::Error::other("no folder for temporary files");
    for dir in dirs {
        match std::fs::create_dir_all(dir).and_then(|()| unnamed_file_in(dir)) {
            Ok(file) => return Ok(file),
            Err(e) => last = io::Error::new(e.kind(), format!("{}: {e}", dir.display())),
        }
    }
    Err(last)
}

fn unnamed_file_in(dir: &Path) -> io::Result<File> {
    let mut options = File::options();
    options.read(true).write(true).mode(0o600);
    match options.custom_flags(libc::O_TMPFILE).open(dir) {
        // Not every file system supports O_TMPFILE (open(2)); then the name is removed at once.
        Err(e) if e.raw_os_error() == Some(libc::EOPNOTSUPP) => {
            let path = dir.join(format!(".spool-{}", std::process::id()));
            let file = options.custom_flags(0).create_new(true).open(&path)?;
            std::fs::remove_file(&path)?;
            Ok(file)
        }
        opened => opened,
    }
}

fn seek(len: u64, position: u64, to: SeekFrom) -> io::Result<u64> {
    let position = match to {
        SeekFrom::Start(n) => Some(n),
        SeekFrom::End(n) => len.checked_add_signed(n),
        SeekFrom::Current(n) => position.checked_add_signed(n),
    };
    position.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "a position before the start"))
}

/// An independent reader of a spool.
#[derive(Debug)]
pub struct SpoolReader<'a> {
    spool: &'a Spool,
    position: u64,
}

impl Read for SpoolReader<'_> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        let count = self.spool.read_at(to, self.position)?;
        self.position += count as u64;
        Ok(count)
    }
}

impl Seek for SpoolReader<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.position = seek(self.spool.len, self.position, to)?;
        Ok(self.position)
    }
}

impl ReadAt for Spool {
    fn read_all_at(&self, bytes: &mut [u8], at: u64) -> io::Result<()> {
        SpoolReader { spool: self, position: at }.read_exact(bytes)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;

    fn sample() -> Vec<u8> {
        let mut bytes = vec![0; 10 * BLOCK + 100];
        for (n, byte) in bytes.iter_mut().enumerate() {
            // Every other block stays empty.
            if (n / BLOCK).is_multiple_of(2) {
                *byte = (n % 253) as u8;
            }
        }
        bytes
    }

    fn filled(max_memory: usize, dir: &std::path::Path) -> Spool {
        let mut spool = Spool::new(vec![dir.join("not/there"), dir.into()]);
        spool.max_memory = max_memory;
        let bytes = sample();
        let mut from = io::Cursor::new(&bytes);
        spool
            .keep_all(bytes.len() as u64, |to| {
                from.read_exact(to).unwrap();
                Ok(())
            })
            .unwrap();
        spool
    }

    #[test]
    fn kept_bytes_are_read_back_from_memory_and_from_the_file() {
        let dir = tempfile::tempdir().unwrap();
        for max_memory in [0, 2 * BLOCK, MAX_MEMORY] {
            let spool = filled(max_memory, dir.path());
            assert_eq!(spool.file.is_some(), max_memory < MAX_MEMORY);
            let mut all = Vec::new();
            let mut reader = spool.reader();
            reader.read_to_end(&mut all).unwrap();
            assert!(all == sample());
            reader.seek(SeekFrom::Start(2 * BLOCK as u64 - 10)).unwrap();
            let mut part = [0; 20];
            reader.read_exact(&mut part).unwrap();
            assert_eq!(part, sample()[2 * BLOCK - 10..2 * BLOCK + 10]);
            spool.read_all_at(&mut part, 2 * BLOCK as u64 - 10).unwrap();
            assert_eq!(part, sample()[2 * BLOCK - 10..2 * BLOCK + 10]);
        }
    }

    #[test]
    fn no_more_is_kept_than_the_bound_and_the_room_allow() {
        let dir = tempfile::tempdir().unwrap();
        let mut spool = Spool::new(vec![dir.path().into()]);
        (spool.max_memory, spool.most) = (2 * BLOCK, 5 * BLOCK as u64);
        let mut filled = 0;
        let error = spool
            .keep_all(u64::MAX, |to| {
                to.fill(1);
                filled += to.len();
                Ok(())
            })
            .unwrap_err();
        assert!(error.to_string().contains("more than 0 MiB"), "{error}");
        assert_eq!(filled, 6 * BLOCK);
        // Once there is a file, its file system is a bound, too.
        let mut spool = filled_with_room(dir.path());
        assert!(spool.most < u64::MAX);
        spool.most = spool.kept;
        spool.keep(&[0; BLOCK]).unwrap();
        assert!(spool.keep(&[1; BLOCK]).is_err());
    }

    fn filled_with_room(dir: &Path) -> Spool {
        let mut spool = Spool::new(vec![dir.into()]);
        (spool.max_memory, spool.most) = (0, u64::MAX);
        spool.keep(&[1; BLOCK]).unwrap();
        spool
    }

    #[test]
    fn empty_blocks_take_no_space_and_the_file_has_no_name() {
        let dir = tempfile::tempdir().unwrap();
        let spool = filled(0, dir.path());
        assert_eq!(spool.blocks.len(), 6);
        let names: Vec<_> = std::fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(names, ["not"]);
    }
}

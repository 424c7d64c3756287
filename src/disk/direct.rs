//! A device that is read and written past the page cache.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use nix::fcntl::{FallocateFlags, PosixFadviseAdvice, fallocate, posix_fadvise};

/// The alignment of direct I/O: enough for every logical sector size in use.
pub const ALIGN: usize = 4096;

/// A buffer whose bytes start at a multiple of [`ALIGN`], as direct I/O requires.
#[derive(Debug)]
pub struct Block {
    bytes: Vec<u8>,
    start: usize,
    len: usize,
}

impl Default for Block {
    /// An empty buffer.
    fn default() -> Self {
        Self::new(0)
    }
}

impl Block {
    /// `len` zeros.
    #[must_use]
    pub fn new(len: usize) -> Self {
        let bytes = vec![0; len + ALIGN];
        let start = bytes.as_ptr().align_offset(ALIGN).min(ALIGN);
        Self { bytes, start, len }
    }

    /// The first `len` bytes.
    #[must_use]
    pub fn get(&self, len: usize) -> &[u8] {
        self.bytes.get(self.start..self.start + len.min(self.len)).unwrap_or_default()
    }

    /// How many bytes it holds.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.len
    }

    /// The first `len` bytes, mutable.
    pub fn get_mut(&mut self, len: usize) -> &mut [u8] {
        self.bytes.get_mut(self.start..self.start + len.min(self.len)).unwrap_or_default()
    }
}

/// A block device or a plain file. If direct I/O is not supported, and for unaligned bytes at the end,
/// the page cache is used, and dropped before the data is read back.
#[derive(Debug)]
pub struct DirectFile {
    path: PathBuf,
    plain: File,
    direct: Option<File>,
    can_direct: AtomicBool,
    can_punch: AtomicBool,
}

impl DirectFile {
    /// Opens `path`; a block device exclusively, so that one that is mounted or
    /// part of something else is refused (`EBUSY`).
    ///
    /// # Errors
    /// If it cannot be opened.
    pub fn open(path: &Path) -> io::Result<Self> {
        let is_block = std::fs::metadata(path)?.file_type().is_block_device();
        let flags = if is_block { libc::O_EXCL } else { 0 };
        let plain = OpenOptions::new().read(true).write(true).custom_flags(flags).open(path)?;
        let direct = OpenOptions::new().read(true).write(true).custom_flags(libc::O_DIRECT).open(path).ok();
        Ok(Self {
            path: path.to_owned(),
            can_direct: AtomicBool::new(direct.is_some()),
            can_punch: AtomicBool::new(true),
            plain,
            direct,
        })
    }

    /// Its path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the page cache is bypassed.
    #[must_use]
    pub fn is_direct(&self) -> bool {
        self.can_direct.load(Ordering::Relaxed)
    }

    /// The file to use for `len` bytes at `offset`.
    fn direct_for(&self, len: usize, offset: u64) -> Option<&File> {
        let aligned = len.is_multiple_of(ALIGN) && offset.is_multiple_of(ALIGN as u64);
        self.direct.as_ref().filter(|_| aligned && self.is_direct())
    }

    /// Reads exactly as many bytes as `to` holds.
    ///
    /// # Errors
    /// If they cannot be read.
    pub fn read_at(&self, to: &mut [u8], offset: u64) -> io::Result<()> {
        if let Some(direct) = self.direct_for(to.len(), offset) {
            match direct.read_exact_at(to, offset) {
                Err(e) if e.raw_os_error() == Some(libc::EINVAL) => {
                    self.can_direct.store(false, Ordering::Relaxed)
                }
                done => return done,
            }
        }
        self.plain.read_exact_at(to, offset)
    }

    /// Writes all of `from`.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write_at(&self, from: &[u8], offset: u64) -> io::Result<()> {
        if let Some(direct) = self.direct_for(from.len(), offset) {
            match direct.write_all_at(from, offset) {
                Err(e) if e.raw_os_error() == Some(libc::EINVAL) => {
                    self.can_direct.store(false, Ordering::Relaxed)
                }
                done => return done,
            }
        }
        self.plain.write_all_at(from, offset)
    }

    /// Zeroes a range without sending data, if the device supports that. Returns whether it does.
    pub fn punch(&self, offset: u64, len: u64) -> bool {
        let (Ok(offset), Ok(len)) = (i64::try_from(offset), i64::try_from(len)) else { return false };
        if !self.can_punch.load(Ordering::Relaxed) {
            return false;
        }
        let how = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
        let done = fallocate(&self.plain, how, offset, len).is_ok();
        self.can_punch.store(done, Ordering::Relaxed);
        done
    }

    /// Makes all writes durable.
    ///
    /// # Errors
    /// If the device reports one, also for earlier writes.
    pub fn flush(&self) -> io::Result<()> {
        self.plain.sync_all()
    }

    /// Makes the next read come from the device. Dirty pages stay cached, so flush first.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn drop_cache(&self) -> io::Result<()> {
        Ok(posix_fadvise(&self.plain, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED)?)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn blocks_start_where_direct_io_wants_them() {
        for len in [1, 512, 1 << 20] {
            let block = Block::new(len);
            assert_eq!(block.get(len).as_ptr().align_offset(ALIGN), 0);
            assert_eq!(block.get(usize::MAX).len(), len);
        }
    }

    #[test]
    fn odd_sizes_and_places_are_read_and_written_too() {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(3 * 4096 + 100).unwrap();
        let device = DirectFile::open(file.path()).unwrap();
        let mut block = Block::new(8192);
        for (len, offset) in [(4096, 4096), (100, 3 * 4096), (7, 13)] {
            block.get_mut(len).fill(9);
            device.write_at(block.get(len), offset).unwrap();
            block.get_mut(len).fill(0);
            device.read_at(block.get_mut(len), offset).unwrap();
            assert!(block.get(len).iter().all(|b| *b == 9));
        }
        device.flush().unwrap();
        device.drop_cache().unwrap();
    }
}

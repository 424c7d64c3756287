//! Reading a file once, past the page cache.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt};

use crate::disk::direct::ALIGN;

/// Reads a file from front to back. If the buffer is aligned, the page cache is bypassed, which also
/// saves a copy; see [`crate::disk::direct::Block`].
#[derive(Debug)]
pub struct DirectReader {
    plain: File,
    direct: Option<File>,
    at: u64,
}

impl DirectReader {
    /// Reads a regular file from its beginning.
    #[must_use]
    pub fn new(plain: File) -> Self {
        // The same file, even if its name now leads to another one.
        let path = format!("/proc/self/fd/{}", plain.as_raw_fd());
        let direct = OpenOptions::new().read(true).custom_flags(libc::O_DIRECT).open(path).ok();
        Self { plain, direct, at: 0 }
    }

    fn read_direct(&mut self, to: &mut [u8]) -> Option<io::Result<usize>> {
        let fits = to.len().is_multiple_of(ALIGN)
            && to.as_ptr().align_offset(ALIGN) == 0
            && self.at.is_multiple_of(ALIGN as u64);
        let read = self.direct.as_ref().filter(|_| fits)?.read_at(to, self.at);
        if read.as_ref().is_err_and(|e| e.raw_os_error() == Some(libc::EINVAL)) {
            self.direct = None;
            return None;
        }
        Some(read)
    }
}

impl Read for DirectReader {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        let count = match self.read_direct(to) {
            Some(read) => read,
            None => self.plain.read_at(to, self.at),
        }?;
        self.at += count as u64;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;
    use crate::disk::direct::Block;

    #[test]
    fn every_byte_is_read_whatever_the_buffer() {
        let bytes: Vec<u8> = (0..3 * ALIGN + 100).map(|n| (n % 251) as u8).collect();
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), &bytes).unwrap();
        for len in [ALIGN, 2 * ALIGN, 1000, 8 * ALIGN] {
            let mut reader = DirectReader::new(File::open(file.path()).unwrap());
            let (mut block, mut all) = (Block::new(len), vec![]);
            loop {
                let count = reader.read(block.get_mut(len)).unwrap();
                if count == 0 {
                    break;
                }
                all.extend_from_slice(&block.get(len)[..count]);
            }
            assert!(all == bytes, "{len} at a time");
        }
    }
}

//! What a FAT is read from.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::rc::Rc;

/// Bytes with a position.
pub trait ReadAt {
    /// Fills `bytes` with those from `at` on.
    ///
    /// # Errors
    /// If they cannot be read, or there are fewer.
    fn read_all_at(&self, bytes: &mut [u8], at: u64) -> io::Result<()>;
}

impl ReadAt for File {
    fn read_all_at(&self, bytes: &mut [u8], at: u64) -> io::Result<()> {
        FileExt::read_exact_at(self, bytes, at)
    }
}

impl<T: ReadAt + ?Sized> ReadAt for &T {
    fn read_all_at(&self, bytes: &mut [u8], at: u64) -> io::Result<()> {
        (**self).read_all_at(bytes, at)
    }
}

impl<T: ReadAt + ?Sized> ReadAt for Rc<T> {
    fn read_all_at(&self, bytes: &mut [u8], at: u64) -> io::Result<()> {
        (**self).read_all_at(bytes, at)
    }
}

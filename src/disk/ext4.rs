//! The superblock of an ext4 (Documentation/filesystems/ext4/super.rst). Pure.

use uuid::Uuid;

/// Bytes at the start of a partition that hold it.
pub const HEAD: usize = 2048;

/// Where it starts.
const START: usize = 1024;

const MAGIC: [u8; 2] = [0x53, 0xef];

/// The feature that gives the number of blocks 64 bits.
const INCOMPAT_64BIT: u32 = 0x80;

/// Of blocks of 64 KiB, the largest ones.
const MAX_LOG_BLOCK_SIZE: u32 = 6;

/// What it says of the file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ext4 {
    /// Its UUID.
    pub uuid: Uuid,
    /// Bytes that it takes.
    pub len: u64,
}

impl Ext4 {
    /// Reads the first [`HEAD`] bytes of a partition; `None`: not an ext2, ext3 or ext4.
    #[must_use]
    pub fn parse(head: &[u8]) -> Option<Self> {
        let superblock = head.get(START..)?;
        let number = |at: usize| superblock.get(at..)?.first_chunk().map(|bytes| u32::from_le_bytes(*bytes));
        if superblock.get(0x38..0x3a)? != MAGIC {
            return None;
        }
        let high = if number(0x60)? & INCOMPAT_64BIT == 0 { 0 } else { number(0x150)? };
        let blocks = u64::from(high) << 32 | u64::from(number(4)?);
        let block_size = 1024_u64 << number(0x18).filter(|bits| *bits <= MAX_LOG_BLOCK_SIZE)?;
        let uuid = Uuid::from_bytes(*superblock.get(0x68..)?.first_chunk()?);
        Some(Self { uuid, len: blocks.checked_mul(block_size)? })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;
    use abide_testing::process::program;

    const UUID: &str = "00112233-4455-6677-8899-aabbccddeeff";

    /// As mke2fs makes it.
    fn made(block_size: &str, kib: u32) -> Vec<u8> {
        let file = tempfile::NamedTempFile::new().unwrap();
        let size = format!("{kib}k");
        let words = ["-q", "-F", "-t", "ext4", "-U", UUID, "-b", block_size];
        let output = program("mke2fs").args(words).arg(file.path()).arg(size).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        std::fs::read(file.path()).unwrap()
    }

    #[test]
    fn uuid_and_size_are_those_that_mke2fs_was_given() {
        for (block_size, kib) in [("1024", 1027), ("4096", 4000)] {
            let found = Ext4::parse(&made(block_size, kib)[..HEAD]).unwrap();
            assert_eq!((found.uuid.to_string().as_str(), found.len), (UUID, u64::from(kib) * 1024));
        }
    }

    #[test]
    fn other_and_short_content_is_none() {
        let good = made("1024", 1027);
        assert_eq!(Ext4::parse(&good[..1024 + 0x70]), None);
        assert_eq!(Ext4::parse(&[0; HEAD]), None);
        let mut odd = good[..HEAD].to_vec();
        odd[1024 + 0x18] = 60;
        assert_eq!(Ext4::parse(&odd), None);
    }
}

//! The types and GUIDs in a partition table, for the initramfs: two reads of a disk, and no crate.
//!
//! Checksums are not verified: the kernel has done so, and only what agrees with the partitions that it
//! made of the same table is used. Tables of images and changes go through the crate `gpt` in the product, which
//! alone would make the initramfs executable two percent larger.

use std::io::{self, Read, Seek, SeekFrom};

/// An entry that is in use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableEntry {
    /// The partition's number, from 1.
    pub number: u32,
    /// The GUID of its type, in lower case.
    pub kind: String,
    /// Its own GUID, in lower case.
    pub uuid: String,
}

const UNUSED: &str = "00000000-0000-0000-0000-000000000000";

/// Reads the first copy of the table of a disk with logical blocks of this size (UEFI specification, 5.3).
///
/// # Errors
/// If the disk cannot be read or has no GPT.
pub fn read(mut disk: impl Read + Seek, block_size: u64) -> io::Result<Vec<TableEntry>> {
    let invalid = || io::Error::new(io::ErrorKind::InvalidData, "not a GPT");
    let mut header = [0; 92];
    disk.seek(SeekFrom::Start(block_size))?;
    disk.read_exact(&mut header)?;
    if !header.starts_with(b"EFI PART") {
        return Err(invalid());
    }
    let number = |at: usize| header.get(at..)?.first_chunk::<4>().map(|c| u64::from(u32::from_le_bytes(*c)));
    let start = header.get(72..).and_then(|h| h.first_chunk::<8>()).map(|c| u64::from_le_bytes(*c));
    let start = start.and_then(|s| s.checked_mul(block_size)).ok_or_else(invalid)?;
    let (count, size) = (number(80).ok_or_else(invalid)?, number(84).ok_or_else(invalid)?);
    if count > 1024 || !(128..=4096).contains(&size) {
        return Err(invalid());
    }
    disk.seek(SeekFrom::Start(start))?;
    let mut table = Vec::new();
    disk.take(count * size).read_to_end(&mut table)?;
    let entries = table.chunks_exact(usize::try_from(size).map_err(|_| invalid())?).zip(1..);
    let entry = |(bytes, number): (&[u8], u32)| {
        let kind = guid(bytes.first_chunk()?);
        Some(TableEntry { number, kind, uuid: guid(bytes.get(16..)?.first_chunk()?) })
    };
    Ok(entries.filter_map(entry).filter(|entry| entry.kind != UNUSED).collect())
}

/// A GUID's text: its first three numbers are little-endian.
fn guid(bytes: &[u8; 16]) -> String {
    let [a, b, c, d, e, f, g, h, rest @ ..] = *bytes;
    let (x, y, z) =
        (u32::from_le_bytes([a, b, c, d]), u16::from_le_bytes([e, f]), u16::from_le_bytes([g, h]));
    let rest: Vec<String> = rest.iter().map(|b| format!("{b:02x}")).collect();
    let (clock, node) = rest.split_at(2);
    format!("{x:08x}-{y:04x}-{z:04x}-{}-{}", clock.concat(), node.concat())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;
    use crate::disk::tests::table;

    const A: &str = "01234567-89ab-cdef-0123-456789abcdef";
    const B: &str = "c12a7328-f81f-11d2-ba4b-00a0c93ec93b";

    #[test]
    fn the_type_and_guid_of_every_entry_in_use_are_read() {
        let disk = io::Cursor::new(table(&[(1, B, A), (3, A, B)]));
        let found: Vec<_> =
            read(disk, 512).unwrap().into_iter().map(|e| (e.number, e.kind, e.uuid)).collect();
        assert_eq!(found, [(1, B.to_owned(), A.to_owned()), (3, A.to_owned(), B.to_owned())]);
    }

    #[test]
    fn a_damaged_table_is_an_error() {
        assert!(read(io::Cursor::new(vec![0; 2048]), 512).is_err());
        let mut bytes = vec![0xff; 2048];
        bytes[512..520].copy_from_slice(b"EFI PART");
        assert!(read(io::Cursor::new(bytes), 512).is_err());
        assert!(read(io::Cursor::new(vec![0; 10]), 512).is_err());
    }
}

//! The partition table of a disk after a power cut, as the firmware sees it: either copy will do.
//!
//! Offsets are those of the UEFI specification 2.10, 5.3.

use crate::sectors::{SECTOR, Sectors};

/// A partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partition {
    /// Its own UUID, in lower case.
    pub uuid: String,
    /// Its first sector.
    pub start: u64,
    /// How many sectors it has.
    pub count: u64,
}

/// The partitions of a disk. The firmware (EDK2, `PartitionInstallGptChildHandles`) takes the second
/// copy where the first one is damaged, and mends that, before Linux looks at it.
#[must_use]
pub fn partitions(disk: &Sectors) -> Option<Vec<Partition>> {
    copy(disk, 1).or_else(|| copy(disk, disk.count().checked_sub(1)?))
}

fn copy(disk: &Sectors, at: u64) -> Option<Vec<Partition>> {
    let header = disk.content(at);
    let (size, sum) = (get(&header, 12, 4), get(&header, 16, 4));
    let mut unsummed = header;
    unsummed.get_mut(16..20)?.fill(0);
    let covered = unsummed.get(..usize::try_from(size).ok()?)?;
    if !header.starts_with(b"EFI PART") || u64::from(checksum(covered)) != sum || get(&header, 24, 8) != at {
        return None;
    }
    let (start, count, length) = (get(&header, 72, 8), get(&header, 80, 4), get(&header, 84, 4));
    if length != 128 || count > 128 {
        return None;
    }
    let bytes: Vec<u8> =
        (start..start + (count * length).div_ceil(SECTOR as u64)).flat_map(|at| disk.content(at)).collect();
    if u64::from(checksum(bytes.get(..usize::try_from(count * length).ok()?)?)) != get(&header, 88, 4) {
        return None;
    }
    let used = bytes.as_chunks::<128>().0.iter().filter(|entry| get(*entry, 0, 8) != 0);
    Some(
        used.map(|entry| {
            let (start, end) = (get(entry, 32, 8), get(entry, 40, 8));
            let (a, b, c) = (get(entry, 16, 4), get(entry, 20, 2), get(entry, 22, 2));
            let rest: Vec<String> = (24..32).map(|at| format!("{:02x}", get(entry, at, 1))).collect();
            let (clock, node) = rest.split_at(2);
            let uuid = format!("{a:08x}-{b:04x}-{c:04x}-{}-{}", clock.concat(), node.concat());
            Partition { uuid, start, count: (end + 1).saturating_sub(start) }
        })
        .collect(),
    )
}

/// A little-endian number of so many bytes.
fn get(bytes: &[u8], at: usize, length: usize) -> u64 {
    let bytes = bytes.get(at..at + length).unwrap_or_default();
    bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// CRC-32 (IEEE 802.3).
fn checksum(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| (sum >> 1) ^ (0xedb8_8320 & (sum & 1).wrapping_neg()))
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::disk::create_with_esp;

    #[test]
    fn the_second_copy_counts_where_the_first_is_damaged() {
        let file = tempfile::NamedTempFile::new().unwrap();
        create_with_esp(file.path(), 4).unwrap();
        let mut disk = Sectors::read(file.path()).unwrap();
        let whole = partitions(&disk).unwrap();
        let first = whole.first().unwrap();
        assert_eq!((whole.len(), first.start, first.count), (1, 2048, 8192));
        assert_eq!(first.uuid.len(), 36);
        let undefined = disk.intern(&[0xff; 512]);
        disk.set(2, &undefined);
        assert_eq!(partitions(&disk).unwrap(), whole);
        disk.set(disk.count() - 1, &undefined);
        assert_eq!(partitions(&disk), None);
    }
}

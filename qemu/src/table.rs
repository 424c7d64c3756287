//! The partition table of a disk after a power cut, as the firmware sees it.
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

/// What the firmware and the kernel find.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// The partitions of the copy that counts.
    pub partitions: Vec<Partition>,
    /// The first copy is invalid, so that the second one counts.
    pub is_first_torn: bool,
}

/// Reads the table of a disk. The first copy counts if it is valid. If it is not, the firmware (EDK2,
/// `PartitionInstallGptChildHandles`) takes the second one and mends the first, before Linux looks at it; it
/// looks for the second one in the last sector only.
///
/// # Errors
/// When the first copy is invalid, and there is no valid one in the last sector.
pub fn read(disk: &Sectors) -> Result<Table, String> {
    let last = disk.count().saturating_sub(1);
    if let Some(partitions) = copy(disk, 1) {
        return Ok(Table { partitions, is_first_torn: false });
    }
    let why = "the first partition table is invalid, and there is no valid one in the last sector";
    let partitions = copy(disk, last).ok_or(why)?;
    Ok(Table { partitions, is_first_torn: true })
}

/// Whether a write of `count` sectors from `at` touches the header or the entries of the first copy, as every
/// tool lays it out.
#[must_use]
pub fn touches_first(at: u64, count: usize) -> bool {
    at < FIRST_USABLE && at + count as u64 > 1
}

/// The first sector behind a first copy with 128 entries.
const FIRST_USABLE: u64 = 34;

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

    fn disk() -> Sectors {
        let file = tempfile::NamedTempFile::new().unwrap();
        create_with_esp(file.path(), 4).unwrap();
        Sectors::read(file.path()).unwrap()
    }

    fn damage(disk: &mut Sectors, at: u64) {
        let undefined = disk.intern(&[0xff; 512]);
        disk.set(at, &undefined);
    }

    #[test]
    fn the_first_copy_counts_while_it_is_valid() {
        let mut disk = disk();
        let whole = read(&disk).unwrap();
        let first = whole.partitions.first().unwrap();
        assert_eq!((whole.partitions.len(), first.start, first.count), (1, 2048, 8192));
        assert_eq!((first.uuid.len(), whole.is_first_torn), (36, false));
        let last = disk.count() - 1;
        damage(&mut disk, last);
        assert_eq!(read(&disk).unwrap(), whole);
    }

    #[test]
    fn the_second_copy_counts_where_the_first_is_torn() {
        let whole = disk();
        for sector in [1, 2] {
            let mut disk = whole.clone();
            damage(&mut disk, sector);
            let table = read(&disk).unwrap();
            assert!(table.is_first_torn);
            assert_eq!(table.partitions, read(&whole).unwrap().partitions);
            let last = disk.count() - 1;
            damage(&mut disk, last);
            assert!(read(&disk).unwrap_err().contains("no valid one in the last sector"));
        }
    }

    #[test]
    fn a_second_copy_before_the_last_sector_does_not_count() {
        let file = tempfile::NamedTempFile::new().unwrap();
        create_with_esp(file.path(), 4).unwrap();
        let len = file.as_file().metadata().unwrap().len();
        file.as_file().set_len(len + 512).unwrap();
        let mut disk = Sectors::read(file.path()).unwrap();
        assert!(!read(&disk).unwrap().is_first_torn);
        damage(&mut disk, 1);
        assert!(read(&disk).is_err());
    }

    #[test]
    fn a_write_may_tear_the_first_copy_if_it_touches_it() {
        assert!(touches_first(0, 8) && touches_first(33, 1) && touches_first(1, 1));
        assert!(!touches_first(0, 1) && !touches_first(34, 8));
    }
}

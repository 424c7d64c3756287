//! Partition tables, as they are read from a disk or an image.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Cursor, Read, Seek, SeekFrom};

use gpt::disk::LogicalBlockSize;
use gpt::header::{Header, read_header_from_arbitrary_device};
use gpt::partition::{Partition, file_read_partitions};

/// The specification asks for room for 128 entries; a table with more than this is refused.
const MAX_ENTRIES: u32 = 1024;

/// The only size of an entry that exists (UEFI 2.10, 5.3.3, allows larger ones).
pub(super) const ENTRY_SIZE: u32 = 128;

/// The most characters (UTF-16 units) that a label can have.
pub const MAX_LABEL: usize = 36;

/// One valid copy of a partition table.
#[derive(Debug, Clone)]
pub struct PartitionTable {
    /// Bytes in a sector: 512 or 4096.
    pub sector: u64,
    /// Entries by number, from 1.
    pub partitions: BTreeMap<u32, Partition>,
    pub(super) header: Header,
}

/// A change of a partition's entry.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EntryChange {
    /// The new UUID.
    pub uuid: Option<uuid::Uuid>,
    /// The new label, of at most [`MAX_LABEL`] UTF-16 units.
    pub label: Option<String>,
    /// The GUID of the new type.
    pub kind: Option<uuid::Uuid>,
    /// Attributes to set, even if they are in `clear`, too.
    pub set: u64,
    /// Attributes to clear.
    pub clear: u64,
}

/// Attribute: automatic discovery ignores this partition (Discoverable Partitions Specification).
pub const NO_AUTO: u64 = 1 << 63;

/// Attribute: to be mounted read-only (the same).
pub const READ_ONLY: u64 = 1 << 60;

impl EntryChange {
    /// Whether `partition` has these values already.
    #[must_use]
    pub fn is_made(&self, partition: &Partition) -> bool {
        self.uuid.is_none_or(|uuid| uuid == partition.part_guid)
            && self.label.as_ref().is_none_or(|label| *label == partition.name)
            && self.kind.is_none_or(|kind| kind == partition.part_type_guid.guid)
            && self.flags(partition.flags) == partition.flags
    }
}

impl EntryChange {
    fn flags(&self, old: u64) -> u64 {
        (old & !self.clear) | self.set
    }

    /// `partition` with these values.
    pub(super) fn of(&self, partition: &Partition) -> Partition {
        let mut new = partition.clone();
        if let Some(uuid) = self.uuid {
            new.part_guid = uuid;
        }
        if let Some(label) = &self.label {
            new.name.clone_from(label);
        }
        if let Some(kind) = self.kind {
            new.part_type_guid.guid = kind;
        }
        new.flags = self.flags(new.flags);
        new
    }
}

impl PartitionTable {
    /// Reads the first copy, of a disk with sectors of 512 or 4096 bytes: whichever fits.
    ///
    /// # Errors
    /// If neither is valid.
    pub fn read(disk: &mut (impl Read + Seek)) -> io::Result<Self> {
        Self::read_sectors(disk, LogicalBlockSize::Lb512)
            .or_else(|first| Self::read_sectors(disk, LogicalBlockSize::Lb4096).map_err(|_| first))
    }

    fn read_sectors(disk: &mut (impl Read + Seek), sector: LogicalBlockSize) -> io::Result<Self> {
        let header = read_header_from_arbitrary_device(disk, sector).map_err(io::Error::other)?;
        Self::with_header(disk, header, sector)
    }

    /// Reads the copy whose header is in sector `lba`.
    ///
    /// # Errors
    /// If it is not valid.
    pub(super) fn read_at(
        disk: &mut (impl Read + Seek),
        lba: u64,
        sector: LogicalBlockSize,
    ) -> io::Result<Self> {
        let overflow = || io::Error::other("corrupt partition table");
        // The crate reads a header from sector 1 only.
        let mut sectors = vec![0; sector.as_usize() * 2];
        disk.seek(SeekFrom::Start(lba.checked_mul(sector.as_u64()).ok_or_else(overflow)?))?;
        disk.read_exact(sectors.get_mut(sector.as_usize()..).unwrap_or_default())?;
        let header =
            read_header_from_arbitrary_device(&mut Cursor::new(sectors), sector).map_err(io::Error::other)?;
        if header.current_lba != lba {
            return Err(overflow());
        }
        Self::with_header(disk, header, sector)
    }

    fn with_header(
        disk: &mut (impl Read + Seek),
        header: Header,
        sector: LogicalBlockSize,
    ) -> io::Result<Self> {
        if header.part_size != ENTRY_SIZE || header.num_parts > MAX_ENTRIES {
            return Err(io::Error::other(format!(
                "a partition table of {} entries of {} bytes is not supported",
                header.num_parts, header.part_size
            )));
        }
        let partitions = file_read_partitions(disk, &header, sector)?
            .into_iter()
            .filter(|(_, partition)| partition.is_used())
            .collect();
        Ok(Self { sector: sector.as_u64(), partitions, header })
    }

    /// The end of the disk in bytes, according to the table.
    #[must_use]
    pub fn disk_len(&self) -> u64 {
        self.header.backup_lba.saturating_add(1).saturating_mul(self.sector)
    }

    /// Where the second copy is on a disk of `disk_len` bytes, according to this one.
    #[must_use]
    pub fn second_copy(&self, disk_len: u64) -> SecondCopy {
        let last = (disk_len / self.sector).saturating_sub(1);
        match self.header.backup_lba.cmp(&last) {
            Ordering::Less => SecondCopy::BeforeEnd,
            Ordering::Equal => SecondCopy::AtEnd,
            Ordering::Greater => SecondCopy::BeyondEnd,
        }
    }
}

/// Where a disk's second copy is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SecondCopy {
    /// In the last sector, where the firmware looks for it if the first copy is invalid.
    AtEnd,
    /// Before the last sector: the image was written to a larger disk.
    BeforeEnd,
    /// Beyond the last sector: the image was written to a smaller disk.
    BeyondEnd,
}

impl fmt::Display for SecondCopy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AtEnd => "at the end of the disk",
            Self::BeforeEnd => "before the end of the disk",
            Self::BeyondEnd => "beyond the end of the disk",
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use abide_testing::gpt_disk::GptDisk;

    #[test]
    fn a_table_is_read_with_sectors_of_either_size() {
        for sector in [512, 4096] {
            let bytes = GptDisk::new(sector).bytes();
            let table = PartitionTable::read(&mut Cursor::new(&bytes)).unwrap();
            assert_eq!((table.sector, table.disk_len()), (sector, bytes.len() as u64));
            assert_eq!(table.partitions.keys().copied().collect::<Vec<_>>(), [1, 2, 6]);
        }
    }

    #[test]
    fn the_second_copy_is_at_the_end_of_no_other_disk_than_its_own() {
        for sector in [512, 4096] {
            let bytes = GptDisk::new(sector).bytes();
            let table = PartitionTable::read(&mut Cursor::new(&bytes)).unwrap();
            let len = bytes.len() as u64;
            assert_eq!(table.second_copy(len), SecondCopy::AtEnd);
            // Less than a sector more does not count.
            assert_eq!(table.second_copy(len + sector - 1), SecondCopy::AtEnd);
            assert_eq!(table.second_copy(len + sector), SecondCopy::BeforeEnd);
            assert_eq!(table.second_copy(len - sector), SecondCopy::BeyondEnd);
            assert_eq!(table.second_copy(0), SecondCopy::BeyondEnd);
        }
    }

    #[test]
    fn absurd_tables_are_refused_and_not_believed() {
        let mut disk = Cursor::new(GptDisk::new(512).bytes());
        let mut header = PartitionTable::read(&mut disk).unwrap().header;
        for (num_parts, part_size) in [(u32::MAX, 128), (128, 256)] {
            (header.num_parts, header.part_size) = (num_parts, part_size);
            let wrong = header.clone();
            assert!(PartitionTable::with_header(&mut disk, wrong, LogicalBlockSize::Lb512).is_err());
        }
        assert!(PartitionTable::read(&mut Cursor::new(vec![0; 4096])).is_err());
    }
}

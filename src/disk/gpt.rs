//! Partition tables: read from a disk or an image, and changed so that the disk has a valid one at every
//! moment.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::io::{self, Cursor, Read, Seek, SeekFrom, Write};

use gpt::disk::LogicalBlockSize;
use gpt::header::{Header, read_header_from_arbitrary_device};
use gpt::partition::{Partition, file_read_partitions};

/// The specification asks for room for 128 entries; a table with more than this is refused.
const MAX_ENTRIES: u32 = 1024;

/// The only size of an entry that exists (UEFI 2.10, 5.3.3, allows larger ones).
const ENTRY_SIZE: u32 = 128;

/// The most characters (UTF-16 units) that a label can have.
pub const MAX_LABEL: usize = 36;

/// One valid copy of a partition table.
#[derive(Debug, Clone)]
pub struct PartitionTable {
    /// Bytes in a sector: 512 or 4096.
    pub sector: u64,
    /// Entries by number, from 1.
    pub partitions: BTreeMap<u32, Partition>,
    header: Header,
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

    /// Changes the entry of partition `number` in both copies on the disk.
    ///
    /// The second copy goes first and is flushed by `flush` before the first is touched, and each copy
    /// is written in one piece, header and entries together: the kernel and the firmware
    /// need one valid copy, and the kernel wants it to be the first.
    ///
    /// # Errors
    /// If there is no such partition, or the disk cannot be read or written.
    pub fn change<D: Read + Write + Seek + Debug>(
        &self,
        disk: &mut D,
        number: u32,
        change: &EntryChange,
        mut flush: impl FnMut(&mut D) -> io::Result<()>,
    ) -> io::Result<()> {
        let sector = LogicalBlockSize::try_from(self.sector)?;
        let mut entry = self
            .partitions
            .get(&number)
            .cloned()
            .ok_or_else(|| io::Error::other(format!("there is no partition {number}")))?;
        if let Some(uuid) = change.uuid {
            entry.part_guid = uuid;
        }
        if let Some(label) = &change.label {
            entry.name.clone_from(label);
        }
        if let Some(kind) = change.kind {
            entry.part_type_guid.guid = kind;
        }
        entry.flags = change.flags(entry.flags);
        let mut second = self.second(disk)?;
        TableCopy::read(disk, &second, self.sector)?.patch(disk, &mut second, number, &entry, sector)?;
        flush(disk)?;
        let mut first = self.header.clone();
        TableCopy::read(disk, &first, self.sector)?.patch(disk, &mut first, number, &entry, sector)?;
        flush(disk)
    }

    /// The header of the second copy: as it is on the disk, or derived from the first if it is damaged.
    fn second(&self, disk: &mut (impl Read + Seek)) -> io::Result<Header> {
        let mut second = self.header.clone();
        second.current_lba = self.header.backup_lba;
        second.backup_lba = self.header.current_lba;
        // Its entries end where it begins (UEFI 2.10, 5.3.2).
        let entries = u64::from(self.header.num_parts * ENTRY_SIZE).div_ceil(self.sector);
        second.part_start = self
            .header
            .backup_lba
            .checked_sub(entries)
            .filter(|start| *start > self.header.last_usable)
            .ok_or_else(|| io::Error::other("no room for the backup partition table"))?;
        let end = disk.seek(SeekFrom::End(0))?;
        if second
            .current_lba
            .checked_add(1)
            .and_then(|lbas| lbas.checked_mul(self.sector))
            .is_none_or(|l| l > end)
        {
            return Err(io::Error::other("the backup partition table is beyond the end of the disk"));
        }
        Ok(second)
    }
}

/// The part of a disk that holds one copy, header and entries, in memory; it keeps the disk's offsets.
#[derive(Debug)]
struct TableCopy {
    start: u64,
    bytes: Cursor<Vec<u8>>,
    before: Vec<u8>,
}

impl TableCopy {
    fn read(disk: &mut (impl Read + Seek), header: &Header, sector: u64) -> io::Result<Self> {
        let overflow = || io::Error::other("corrupt partition table");
        let entries = u64::from(header.num_parts * ENTRY_SIZE).div_ceil(sector);
        let first = header.current_lba.min(header.part_start);
        let last = header.part_start.checked_add(entries).ok_or_else(overflow)?;
        let last = last.max(header.current_lba.checked_add(1).ok_or_else(overflow)?);
        let start = first.checked_mul(sector).ok_or_else(overflow)?;
        let len = (last - first).checked_mul(sector).ok_or_else(overflow)?;
        // Entries far away from their header would make this huge; no tool makes such tables.
        if len > u64::from(MAX_ENTRIES * ENTRY_SIZE) * 2 {
            return Err(overflow());
        }
        let mut bytes = vec![0; usize::try_from(len).map_err(io::Error::other)?];
        disk.seek(SeekFrom::Start(start))?;
        disk.read_exact(&mut bytes)?;
        Ok(Self { start, before: bytes.clone(), bytes: Cursor::new(bytes) })
    }

    fn patch<D: Write + Seek>(
        mut self,
        disk: &mut D,
        header: &mut Header,
        number: u32,
        entry: &Partition,
        sector: LogicalBlockSize,
    ) -> io::Result<()> {
        let index = u64::from(number.saturating_sub(1));
        entry.write_to_device(&mut self, index, header.part_start, sector, header.part_size)?;
        let is_first = header.current_lba < header.backup_lba;
        let written = if is_first {
            header.write_primary(&mut self, sector)
        } else {
            header.write_backup(&mut self, sector)
        };
        written.map_err(io::Error::other)?;
        let bytes = self.bytes.into_inner();
        if bytes == self.before {
            return Ok(());
        }
        // Only from the first changed byte's sector to the last one's, in one write:
        // most often the header and the sector after it.
        let differs = |(new, old): (&u8, &u8)| new != old;
        let pairs = || bytes.iter().zip(&self.before);
        let size = sector.as_usize();
        let from = pairs().position(differs).unwrap_or(0) / size * size;
        let to = bytes.len() - pairs().rev().position(differs).unwrap_or(0) / size * size;
        disk.seek(SeekFrom::Start(self.start + from as u64))?;
        disk.write_all(bytes.get(from..to).unwrap_or_default())
    }
}

impl Read for TableCopy {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        self.bytes.read(to)
    }
}

impl Write for TableCopy {
    fn write(&mut self, from: &[u8]) -> io::Result<usize> {
        let room =
            self.bytes.get_ref().len() as u64 - self.bytes.position().min(self.bytes.get_ref().len() as u64);
        let count = from.len().min(usize::try_from(room).unwrap_or(0));
        self.bytes.write(from.get(..count).unwrap_or_default())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seek for TableCopy {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let SeekFrom::Start(position) = to else {
            return Err(io::Error::other("only absolute positions are supported"));
        };
        let inside = position
            .checked_sub(self.start)
            .ok_or_else(|| io::Error::other("position before the partition table"))?;
        Ok(self.start + self.bytes.seek(SeekFrom::Start(inside))?)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;
    use gpt::partition_types;

    fn disk(sector: LogicalBlockSize) -> Cursor<Vec<u8>> {
        let device = Cursor::new(vec![0; 8 << 20]);
        let mut disk = gpt::GptConfig::new()
            .writable(true)
            .logical_block_size(sector)
            .create_from_device(device, None)
            .unwrap();
        for (number, label) in [(1, "esp"), (2, "rootfs_a"), (6, "rootfs_b")] {
            let first = 256 * u64::from(number);
            disk.add_partition_at(label, number, first, 64, partition_types::LINUX_FS, 0).unwrap();
        }
        // The crate itself would close the gap in the numbers when it writes.
        let mut table = BTreeMap::new();
        for (number, partition) in disk.partitions().clone() {
            table.insert(number, partition);
        }
        let mut device = disk.write().unwrap();
        let read = PartitionTable::read(&mut device).unwrap();
        for start in [read.header.part_start, read.second(&mut device).unwrap().part_start] {
            for number in 1..=6 {
                let entry = table.get(&number).cloned().unwrap_or_else(Partition::zero);
                entry.write_to_device(&mut device, u64::from(number) - 1, start, sector, 128).unwrap();
            }
        }
        let mut header = read.header.clone();
        header.write_primary(&mut device, sector).unwrap();
        read.second(&mut device).unwrap().write_backup(&mut device, sector).unwrap();
        device
    }

    fn change() -> EntryChange {
        EntryChange {
            uuid: Some(uuid::Uuid::from_u128(7)),
            label: Some("edge_2.0".into()),
            kind: Some(uuid::Uuid::from_u128(8)),
            set: READ_ONLY,
            clear: NO_AUTO,
        }
    }

    #[test]
    fn both_copies_are_changed_and_nothing_else() {
        for sector in [LogicalBlockSize::Lb512, LogicalBlockSize::Lb4096] {
            let mut disk = disk(sector);
            let before = PartitionTable::read(&mut disk).unwrap();
            assert_eq!(before.sector, sector.as_u64());
            let mut flushes = 0;
            let flush = |_: &mut _| {
                flushes += 1;
                Ok(())
            };
            before.change(&mut disk, 6, &change(), flush).unwrap();
            assert_eq!(flushes, 2);
            let both = gpt::GptConfig::new().logical_block_size(sector).only_valid_headers(true);
            let after = both.open_from_device(disk.clone()).unwrap();
            let partition = &after.partitions()[&6];
            assert!(change().is_made(partition));
            assert_eq!(partition.first_lba, before.partitions[&6].first_lba);
            assert_eq!(after.partitions()[&2], before.partitions[&2]);
            assert_eq!(after.partitions().keys().copied().collect::<Vec<_>>(), [1, 2, 6]);

            let second =
                PartitionTable::with_header(&mut disk, after.backup_header().unwrap().clone(), sector)
                    .unwrap();
            assert_eq!(second.partitions, *after.partitions());
        }
    }

    #[test]
    fn a_cut_after_any_write_leaves_a_valid_first_copy() {
        let mut whole = disk(LogicalBlockSize::Lb512);
        let table = PartitionTable::read(&mut whole).unwrap();
        let mut states = Vec::new();
        let flush = |disk: &mut Cursor<Vec<u8>>| {
            states.push(disk.clone());
            Ok(())
        };
        table.change(&mut whole, 2, &change(), flush).unwrap();
        let uuids: Vec<_> =
            states.iter_mut().map(|s| PartitionTable::read(s).unwrap().partitions[&2].part_guid).collect();
        assert_eq!(uuids, [table.partitions[&2].part_guid, uuid::Uuid::from_u128(7)]);
    }

    #[test]
    fn the_same_change_again_writes_nothing() {
        let mut disk = disk(LogicalBlockSize::Lb512);
        PartitionTable::read(&mut disk).unwrap().change(&mut disk, 2, &change(), |_| Ok(())).unwrap();
        let once = disk.clone();
        PartitionTable::read(&mut disk).unwrap().change(&mut disk, 2, &change(), |_| Ok(())).unwrap();
        assert!(once.into_inner() == disk.into_inner());
    }

    #[test]
    fn a_damaged_second_copy_is_made_anew() {
        let mut disk = disk(LogicalBlockSize::Lb512);
        let end = disk.get_ref().len();
        disk.get_mut()[end - 512..].fill(0);
        PartitionTable::read(&mut disk).unwrap().change(&mut disk, 2, &change(), |_| Ok(())).unwrap();
        assert!(gpt::GptConfig::new().only_valid_headers(true).open_from_device(disk).is_ok());
    }

    #[test]
    fn absurd_tables_are_refused_and_not_believed() {
        let mut disk = disk(LogicalBlockSize::Lb512);
        let mut header = PartitionTable::read(&mut disk).unwrap().header;
        for (num_parts, part_size) in [(u32::MAX, 128), (128, 256)] {
            (header.num_parts, header.part_size) = (num_parts, part_size);
            let wrong = header.clone();
            assert!(PartitionTable::with_header(&mut disk, wrong, LogicalBlockSize::Lb512).is_err());
        }
        assert!(PartitionTable::read(&mut Cursor::new(vec![0; 4096])).is_err());
    }
}

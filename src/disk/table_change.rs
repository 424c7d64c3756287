//! Changing an entry of a partition table, so that the disk has a valid copy of it at every moment.

use std::io::{self, Cursor, Read, Seek, SeekFrom, Write};

use flate2::Crc;
use gpt::disk::LogicalBlockSize;

use crate::disk::gpt::{ENTRY_SIZE, EntryChange, PartitionTable};

/// Bytes of a header (UEFI 2.10, 5.3.2); no tool makes longer ones.
const HEADER_SIZE: u32 = 92;

/// Where the first copy's header is.
const FIRST: u64 = 1;

/// What is written to change an entry in both copies. Everything is read, checked and computed before
/// anything is written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TableChange {
    second: Vec<SectorWrite>,
    first: Vec<SectorWrite>,
}

/// Whole sectors.
#[derive(Debug, Clone, PartialEq, Eq)]
struct SectorWrite {
    offset: u64,
    bytes: Vec<u8>,
}

/// Where one copy is, in sectors.
#[derive(Debug, Clone, Copy)]
struct CopyPlace {
    header: u64,
    entries: u64,
    /// Where the header of the other copy is.
    other: u64,
}

impl TableChange {
    /// What is to be written to make `change` to partition `number`; nothing if that is what both copies have.
    ///
    /// The first copy is the one that counts (the kernel and the firmware take it if it is valid), so the second
    /// gets all of its entries. A second copy that is damaged or missing is made anew.
    ///
    /// # Errors
    /// If there is no such partition, a copy is where it cannot be changed, or the disk cannot be read.
    pub fn plan(
        table: &PartitionTable,
        disk: &mut (impl Read + Seek),
        number: u32,
        change: &EntryChange,
    ) -> io::Result<Self> {
        let none = || io::Error::other(format!("there is no partition {number}"));
        let partition = change.of(table.partitions.get(&number).ok_or_else(none)?);
        let sector = LogicalBlockSize::try_from(table.sector)?;
        let places = places(table, disk)?;
        let [first, second] = places;
        check_apart(table, places)?;

        let size = u64::from(ENTRY_SIZE);
        let mut entries = read(disk, first.entries * table.sector, u64::from(table.header.num_parts) * size)?;
        let mut new = Cursor::new(Vec::new());
        partition.write_to_device(&mut new, 0, 0, sector, ENTRY_SIZE)?;
        let index = usize::try_from(u64::from(number.saturating_sub(1)) * size).map_err(io::Error::other)?;
        let old = entries.get_mut(index..).and_then(|rest| rest.get_mut(..new.get_ref().len()));
        old.ok_or_else(none)?.copy_from_slice(new.get_ref());
        let header = read(disk, first.header * table.sector, table.sector)?;
        Ok(Self {
            second: second.writes(disk, &header, &entries, table.sector)?,
            first: first.writes(disk, &header, &entries, table.sector)?,
        })
    }

    /// Writes it. `flush` makes durable what was written.
    ///
    /// The second copy is durable before the first is touched, and the first is whole until then. Within a copy
    /// no order of its sectors is safer than another: its header has the checksum of its entries, so between
    /// the two the copy is invalid, whichever comes first. Until both are written the other copy counts.
    ///
    /// # Errors
    /// If the disk cannot be written.
    pub fn perform<D: Write + Seek>(
        &self,
        disk: &mut D,
        mut flush: impl FnMut(&mut D) -> io::Result<()>,
    ) -> io::Result<()> {
        for copy in [&self.second, &self.first] {
            for write in copy {
                disk.seek(SeekFrom::Start(write.offset))?;
                disk.write_all(&write.bytes)?;
            }
            // Also if nothing was written: an interrupted change may have left it in the disk's cache.
            flush(disk)?;
        }
        Ok(())
    }

    /// Whether there is nothing to write.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.first.is_empty() && self.second.is_empty()
    }
}

/// Where both copies are.
fn places(table: &PartitionTable, disk: &mut (impl Read + Seek)) -> io::Result<[CopyPlace; 2]> {
    let header = &table.header;
    if header.current_lba != FIRST || header.header_size_le != HEADER_SIZE {
        return Err(io::Error::other("the header of its first partition table is not supported"));
    }
    let len = disk.seek(SeekFrom::End(0))?;
    let second = header.backup_lba;
    if second.checked_add(1).and_then(|end| end.checked_mul(table.sector)).is_none_or(|end| end > len) {
        return Err(io::Error::other("the backup partition table is beyond the end of the disk"));
    }
    let sector = LogicalBlockSize::try_from(table.sector)?;
    // Its entries need not be beside its header: `sgdisk --move-second-header` leaves a gap.
    let found = PartitionTable::read_at(disk, second, sector).ok().map(|found| found.header);
    let found = found.filter(|found| found.backup_lba == FIRST && found.num_parts == header.num_parts);
    let entries = found.map(|found| found.part_start).or_else(|| place_for_entries(table));
    let entries = entries.ok_or_else(|| io::Error::other("no room for the backup partition table"))?;
    Ok([
        CopyPlace { header: FIRST, entries: header.part_start, other: second },
        CopyPlace { header: second, entries, other: FIRST },
    ])
}

/// Where the entries of a second copy are if there is none: they end where its header is (UEFI 2.10, 5.3.2).
fn place_for_entries(table: &PartitionTable) -> Option<u64> {
    let start = table.header.backup_lba.checked_sub(entry_sectors(table))?;
    let is_free = table.partitions.values().all(|partition| partition.last_lba < start);
    (is_free && start > table.header.last_usable).then_some(start)
}

fn entry_sectors(table: &PartitionTable) -> u64 {
    (u64::from(table.header.num_parts) * u64::from(ENTRY_SIZE)).div_ceil(table.sector)
}

/// Refuses copies that overlap each other or the MBR, and one that overlaps a partition: no tool makes such, and what
/// says that its entries are there is a header that may be a valid one of an older table.
fn check_apart(table: &PartitionTable, places: [CopyPlace; 2]) -> io::Result<()> {
    let count = entry_sectors(table);
    let of_copy = |place: CopyPlace| [(place.header, 1), (place.entries, count)];
    let mut ranges: Vec<(u64, u64)> = places.into_iter().flat_map(of_copy).chain([(0, 1)]).collect();
    ranges.sort_unstable();
    let overlap = ranges.windows(2).any(|pair| match pair {
        [(start, len), (next, _)] => start.saturating_add(*len) > *next,
        _ => false,
    });
    if overlap {
        return Err(io::Error::other("the two copies of its partition table overlap"));
    }
    let is_in = |first: u64, last: u64| {
        ranges.iter().any(|(start, len)| *start <= last && start.saturating_add(*len) > first)
    };
    let inside = table.partitions.iter().find(|(_, found)| is_in(found.first_lba, found.last_lba));
    inside.map_or(Ok(()), |(number, _)| {
        Err(io::Error::other(format!(
            "a copy of its partition table overlaps partition {number}; check the disk with: sgdisk --verify"
        )))
    })
}

impl CopyPlace {
    /// What differs on the disk from this copy with `entries` and a header made of the first one's.
    fn writes(
        self,
        disk: &mut (impl Read + Seek),
        header: &[u8],
        entries: &[u8],
        sector: u64,
    ) -> io::Result<Vec<SectorWrite>> {
        let header = self.header(header, entries)?;
        let count = (entries.len() as u64).div_ceil(sector);
        let (at_header, at_entries) = (self.header * sector, self.entries * sector);
        // One write, if nothing lies between them; what lies between is not Abide's.
        let windows = if self.header + 1 == self.entries {
            vec![(at_header, count + 1)]
        } else if self.entries + count == self.header {
            vec![(at_entries, count + 1)]
        } else {
            vec![(at_entries, count), (at_header, 1)]
        };
        let mut writes = Vec::new();
        for (offset, sectors) in windows {
            let before = read(disk, offset, sectors * sector)?;
            let mut after = before.clone();
            for (at, bytes) in [(at_header, header.as_slice()), (at_entries, entries)] {
                let start = at.checked_sub(offset).and_then(|start| usize::try_from(start).ok());
                let to = start.and_then(|start| after.get_mut(start..)?.get_mut(..bytes.len()));
                if let Some(to) = to {
                    to.copy_from_slice(bytes);
                }
            }
            writes.extend(difference(offset, &before, &after, sector)?);
        }
        Ok(writes)
    }

    /// The sector of the header.
    fn header(self, first: &[u8], entries: &[u8]) -> io::Result<Vec<u8>> {
        let mut header = first.to_vec();
        let mut put = |at: usize, bytes: &[u8]| {
            let to = header.get_mut(at..).and_then(|rest| rest.get_mut(..bytes.len()));
            to.map(|to| to.copy_from_slice(bytes))
        };
        let put_all = [
            put(16, &[0; 4]),
            put(24, &self.header.to_le_bytes()),
            put(32, &self.other.to_le_bytes()),
            put(72, &self.entries.to_le_bytes()),
            put(88, &crc(entries).to_le_bytes()),
        ];
        let sum = header.get(..HEADER_SIZE as usize).map(crc);
        let to = header.get_mut(16..20);
        match (sum, to) {
            (Some(sum), Some(to)) if put_all.iter().all(Option::is_some) => {
                to.copy_from_slice(&sum.to_le_bytes());
                Ok(header)
            }
            _ => Err(io::Error::other("a header does not fit into a sector")),
        }
    }
}

/// The sectors from the first changed byte to the last one.
fn difference(offset: u64, before: &[u8], after: &[u8], sector: u64) -> io::Result<Option<SectorWrite>> {
    let size = usize::try_from(sector).map_err(io::Error::other)?;
    let differs = |(new, old): (&u8, &u8)| new != old;
    let pairs = || after.iter().zip(before);
    let (Some(from), Some(to)) = (pairs().position(differs), pairs().rposition(differs)) else {
        return Ok(None);
    };
    let from = from / size * size;
    let bytes = after.get(from..(to / size + 1) * size).unwrap_or_default().to_vec();
    Ok(Some(SectorWrite { offset: offset + from as u64, bytes }))
}

fn read(disk: &mut (impl Read + Seek), offset: u64, len: u64) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(len).map_err(io::Error::other)?];
    disk.seek(SeekFrom::Start(offset))?;
    disk.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn crc(bytes: &[u8]) -> u32 {
    let mut crc = Crc::new();
    crc.update(bytes);
    crc.sum()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;
    use crate::disk::gpt::{NO_AUTO, READ_ONLY};
    use abide_testing::gpt_disk::{GptDisk, copies};
    use abide_testing::{program, skip};

    /// Tables as they exist: as every tool makes them; entries moved, for boot ROM code before them; 56 entries;
    /// the second copy's entries apart from its header.
    fn disks() -> Vec<GptDisk> {
        let usual = GptDisk::new(512);
        vec![
            usual.clone(),
            GptDisk::new(4096),
            GptDisk { first_entries: 2048, ..usual.clone() },
            GptDisk { first_entries: 2048, entries: 56, ..usual.clone() },
            GptDisk { entries: 56, ..usual.clone() },
            GptDisk { entries: 56, ..GptDisk::new(4096) },
            GptDisk { second_entries: Some(usual.second - 500), ..usual },
        ]
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

    fn planned(disk: &[u8]) -> TableChange {
        let mut disk = Cursor::new(disk);
        let table = PartitionTable::read(&mut disk).unwrap();
        TableChange::plan(&table, &mut disk, 6, &change()).unwrap()
    }

    fn perform(change: &TableChange, disk: &[u8]) -> Vec<u8> {
        let mut disk = Cursor::new(disk.to_vec());
        change.perform(&mut disk, |_| Ok(())).unwrap();
        disk.into_inner()
    }

    #[test]
    fn both_copies_are_changed_and_nothing_else_is() {
        for made in disks() {
            let before = made.bytes();
            let after = perform(&planned(&before), &before);
            let [old, _] = copies(&before, made.sector).map(Option::unwrap);
            let [first, second] = copies(&after, made.sector).map(Option::unwrap);
            assert!(first == second, "{made:?}");
            let changed: Vec<usize> =
                (0..old.len() / 128).filter(|i| old[i * 128..][..128] != first[i * 128..][..128]).collect();
            assert_eq!(changed, [5], "{made:?}");
            let table = PartitionTable::read(&mut Cursor::new(&after)).unwrap();
            assert!(change().is_made(&table.partitions[&6]));
            assert_eq!(table.partitions[&6].first_lba, made.first_entries + 256 * 6);

            let second_entries = made.second_entries.unwrap_or(made.second - 40);
            let (first_end, size) = (made.first_entries + 32, made.sector as usize);
            for lba in (0..made.sectors).filter(|lba| *lba != 1 && *lba != made.second) {
                let is_entries = (made.first_entries..first_end).contains(&lba) || lba >= second_entries;
                let at = lba as usize * size;
                assert!(is_entries || before[at..][..size] == after[at..][..size], "{made:?}: {lba}");
            }
        }
    }

    #[test]
    fn a_cut_at_any_sector_leaves_one_whole_copy() {
        for made in disks() {
            let before = made.bytes();
            let change = planned(&before);
            let mut durable = before.clone();
            let mut torn = 0;
            for (copy, whole) in [(&change.second, 0), (&change.first, 1)] {
                let size = made.sector as usize;
                let sectors: Vec<(usize, &[u8])> = copy
                    .iter()
                    .flat_map(|w| {
                        w.bytes.chunks(size).enumerate().map(|(i, b)| (w.offset as usize + i * size, b))
                    })
                    .collect();
                // Any sector may be the only one that is missing or the only one that is there, and the first
                // ones may be.
                for cut in 0..sectors.len() {
                    let kept: [&dyn Fn(usize) -> bool; 3] = [&|i| i < cut, &|i| i == cut, &|i| i != cut];
                    for is_kept in kept {
                        let mut disk = durable.clone();
                        for (_, (at, bytes)) in sectors.iter().enumerate().filter(|(i, _)| is_kept(*i)) {
                            disk[*at..][..size].copy_from_slice(bytes);
                        }
                        let found = copies(&disk, made.sector);
                        assert!(found[whole].is_some(), "{made:?}: {cut}");
                        torn += u32::from(found[1 - whole].is_none());
                    }
                }
                sectors.iter().for_each(|(at, bytes)| durable[*at..][..size].copy_from_slice(bytes));
            }
            assert!(torn > 0 && durable == perform(&change, &before), "{made:?}");
        }
    }

    #[test]
    fn each_copy_is_durable_before_the_next_step() {
        let before = GptDisk::new(512).bytes();
        let mut flushed = Vec::new();
        let flush = |disk: &mut Cursor<Vec<u8>>| {
            flushed.push(copies(disk.get_ref(), 512).map(Option::unwrap));
            Ok(())
        };
        planned(&before).perform(&mut Cursor::new(before.clone()), flush).unwrap();
        let [old, _] = copies(&before, 512).map(Option::unwrap);
        let [first, second] = flushed.try_into().unwrap();
        assert!(first[0] == old && first[1] != old && second[0] == second[1]);
    }

    #[test]
    fn what_lies_between_a_header_and_its_entries_is_not_written() {
        let made = GptDisk { first_entries: 40, ..GptDisk::new(512) };
        let change = planned(&made.bytes());
        let lbas: Vec<_> = change.first.iter().map(|w| (w.offset / 512, w.bytes.len() / 512)).collect();
        assert_eq!(lbas, [(41, 1), (1, 1)]);
    }

    #[test]
    fn the_same_change_again_writes_nothing() {
        let before = GptDisk::new(512).bytes();
        assert!(!planned(&before).is_empty());
        assert!(planned(&perform(&planned(&before), &before)).is_empty());
    }

    #[test]
    fn a_second_copy_is_made_anew_whatever_of_it_is_damaged() {
        for made in disks() {
            let whole = made.bytes();
            let expected = perform(&planned(&whole), &whole);
            let [expected, _] = copies(&expected, made.sector).map(Option::unwrap);
            let count = (made.entries * 128).div_ceil(made.sector);
            let entries = made.second_entries.unwrap_or(made.second - count);
            for (from, sectors) in [(made.second, 1), (entries, 1), (entries, made.sectors - entries)] {
                let mut damaged = whole.clone();
                let at = (from * made.sector) as usize;
                damaged[at..][..(sectors * made.sector) as usize].fill(0xff);
                let repaired = perform(&planned(&damaged), &damaged);
                let repaired = copies(&repaired, made.sector).map(Option::unwrap);
                assert!(repaired.iter().all(|copy| *copy == expected), "{made:?}: {from}");
            }
        }
    }

    #[test]
    fn a_second_copy_gets_the_entries_of_the_first_one() {
        // As an interrupted change leaves it: the second copy has a change that the first has not.
        let before = GptDisk::new(512).bytes();
        let mut disk = Cursor::new(before.clone());
        let table = PartitionTable::read(&mut disk).unwrap();
        let other = EntryChange { label: Some("other".into()), ..EntryChange::default() };
        let mut other = TableChange::plan(&table, &mut disk, 2, &other).unwrap();
        other.first.clear();
        let between = perform(&other, &before);
        assert!(perform(&planned(&between), &between) == perform(&planned(&before), &before));
    }

    #[test]
    fn a_copy_that_has_no_place_of_its_own_is_refused() {
        let refused = |disk: &[u8]| {
            let mut disk = Cursor::new(disk);
            let table = PartitionTable::read(&mut disk).unwrap();
            TableChange::plan(&table, &mut disk, 6, &change()).unwrap_err().to_string()
        };
        let made = GptDisk::new(512);
        let overlap = GptDisk { second_entries: Some(2), ..made.clone() }.bytes();
        assert!(refused(&overlap).contains("overlap"));
        let short = made.bytes();
        assert!(refused(&short[..short.len() - 512]).contains("beyond the end"));
        // A partition in the second copy's place.
        let mut full = GptDisk { second: 1600, second_entries: Some(100), ..made }.bytes();
        full[1600 * 512..][..512].fill(0);
        assert!(refused(&full).contains("no room"));
    }

    /// A second header of an older table is valid, and has its entries where a partition is now.
    #[test]
    fn a_copy_that_overlaps_a_partition_is_refused() {
        let made = GptDisk::new(512);
        let rootfs_b = made.first_entries + 256 * 6;
        let stale = |entries, second| GptDisk { second_entries: Some(entries), second, ..made.clone() };
        let refused = |table: &PartitionTable, bytes: &[u8]| {
            TableChange::plan(table, &mut Cursor::new(bytes), 6, &change()).unwrap_err().to_string()
        };
        let read = |bytes: &[u8]| PartitionTable::read(&mut Cursor::new(bytes)).unwrap();
        // Inside, with its last sector only, with its first; the header alone.
        let (at, end) = ([rootfs_b + 10, rootfs_b - 31, rootfs_b + 63], made.second);
        for inside in at.map(|at| stale(at, end)).into_iter().chain([stale(end - 100, rootfs_b + 63)]) {
            let bytes = inside.bytes();
            let error = refused(&read(&bytes), &bytes);
            assert!(error.contains("overlaps partition 6;"), "{inside:?}: {error}");
        }
        // The first copy.
        let bytes = made.bytes();
        let mut table = read(&bytes);
        table.partitions.get_mut(&2).unwrap().first_lba = made.first_entries + 31;
        assert!(refused(&table, &bytes).contains("overlaps partition 2;"));
        for beside in [stale(rootfs_b - 32, made.second), stale(rootfs_b + 64, made.second)] {
            assert!(!planned(&beside.bytes()).is_empty(), "{beside:?}");
        }
    }

    #[test]
    fn tables_that_sgdisk_and_sfdisk_make_stay_valid_for_them() {
        let dir = tempfile::tempdir().unwrap();
        let disk = dir.path().join("disk");
        let named = "name=esp,size=1M,type=U\nsize=1M\nsize=1M\nsize=1M\nsize=1M\nsize=1M\n";
        let made: [(&str, &[&str], &str); 4] = [
            ("sfdisk", &["-q"], &format!("label: gpt\n{named}")),
            ("sfdisk", &["-q"], &format!("label: gpt\ntable-length: 56\n{named}")),
            ("sgdisk", &["-n6:0:+1M"], ""),
            ("sgdisk", &["-j2048", "-n6:0:+1M"], ""),
        ];
        for (tool, arguments, input) in made {
            std::fs::write(&disk, vec![0; 16 << 20]).unwrap();
            let from = dir.path().join("input");
            std::fs::write(&from, input).unwrap();
            let mut command = program(tool);
            command.args(arguments).arg(&disk).stdin(std::fs::File::open(&from).unwrap());
            let Ok(output) = command.output() else {
                skip::skipped("tables_that_sgdisk_and_sfdisk_make_stay_valid_for_them", tool);
                continue;
            };
            assert!(output.status.success(), "{tool} {arguments:?}: {output:?}");
            let before = std::fs::read(&disk).unwrap();
            std::fs::write(&disk, perform(&planned(&before), &before)).unwrap();
            let (verify, fine) = if tool == "sfdisk" {
                ("--verify", "No errors detected")
            } else {
                ("-v", "No problems found")
            };
            let output = program(tool).arg(verify).arg(&disk).output().unwrap();
            let said = String::from_utf8_lossy(&output.stdout);
            assert!(output.status.success() && said.contains(fine), "{said}");
            let said = program("sfdisk").arg("--dump").arg(&disk).output().unwrap().stdout;
            assert!(String::from_utf8_lossy(&said).contains("name=\"edge_2.0\""));
        }
    }
}

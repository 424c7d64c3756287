//! The end of a directory on FAT: the directory entries behind its last name, which were used before.
//!
//! EDK2 puts a new name at the first directory entry that was never used (`FatNewEntryPos`, EnhancedFatDxe), and
//! Linux never marks a used entry as never used. So with every try that the loader counts the directory grows by a
//! name, until a rename needs several writes to the disk, and a power cut between two of them loses the boot entry.
//! Cleared entries count as never used.
//!
//! This writes to the block device itself, so it does so only while the device is not mounted. It clears only whole
//! sectors that contain no name. Nothing reads the cleared bytes, so an interruption is harmless. Offsets are those
//! of Microsoft's specification (FAT: General Overview of On-Disk Format, 1.03).

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::OFlags;

use crate::boot::esp::directory_entries::SIZE;

/// Refuses a block device that is mounted or part of another (open(2)).
const EXCLUSIVE: i32 = OFlags::EXCL.bits() as i32;
/// Values of a directory entry's first byte.
const NEVER_USED: u8 = 0;
const REMOVED: u8 = 0xe5;
/// Attributes of a directory entry.
const VOLUME_LABEL: u8 = 0x08;
const DIRECTORY: u8 = 0x10;
/// Bytes of a directory; the specification has no larger ones.
const LARGEST: u64 = 65_536 * SIZE as u64;

/// A sector, at this byte of the device, and what it should hold.
#[derive(Debug, PartialEq, Eq)]
struct Sector {
    at: u64,
    content: Vec<u8>,
}

/// Clears the ends of these directories, and makes that durable. Does nothing on a device that is in use.
///
/// # Errors
/// If the device cannot be read or written, or does not hold a valid FAT16 or FAT32.
pub fn clear(device: &Path, directories: &[&str]) -> io::Result<()> {
    // Opening a device for writing makes udev process it again.
    if unclear_sectors(&mut File::open(device)?, directories)?.is_empty() {
        return Ok(());
    }
    let mut file = match OpenOptions::new().read(true).write(true).custom_flags(EXCLUSIVE).open(device) {
        Err(e) if e.kind() == ErrorKind::ResourceBusy => return Ok(()),
        file => file?,
    };
    for sector in unclear_sectors(&mut file, directories)?.iter().rev() {
        file.seek(SeekFrom::Start(sector.at))?;
        file.write_all(&sector.content)?;
    }
    file.sync_all()
}

/// The sectors that are to change, in the order of their directories.
fn unclear_sectors(disk: &mut (impl Read + Seek), directories: &[&str]) -> io::Result<Vec<Sector>> {
    let layout = FatLayout::read(disk)?;
    let mut found = vec![];
    for path in directories {
        found.extend(layout.find(disk, path)?.iter().flat_map(|directory| unclear_end(directory)));
    }
    Ok(found)
}

/// The number of directory entries before the first that was never used, where EDK2 puts the next name; `None` if
/// there is no such directory. Also right while the file system is mounted: the kernel keeps directories in the
/// device's own pages.
///
/// # Errors
/// If the device cannot be read, or does not hold a valid FAT16 or FAT32.
pub fn find(device: &Path, directory: &str) -> io::Result<Option<usize>> {
    let mut disk = File::open(device)?;
    let layout = FatLayout::read(&mut disk)?;
    let sectors = layout.find(&mut disk, directory)?;
    Ok(sectors.map(|sectors| {
        let entries = sectors.iter().flat_map(|sector| sector.content.chunks(SIZE));
        entries.take_while(|entry| entry.first() != Some(&NEVER_USED)).count()
    }))
}

/// The sectors behind the one with the directory's last name that are not clear.
fn unclear_end(directory: &[Sector]) -> Vec<Sector> {
    let is_used = |entry: &[u8]| entry.first().is_some_and(|first| ![NEVER_USED, REMOVED].contains(first));
    let last = directory.iter().rposition(|sector| sector.content.chunks(SIZE).any(is_used));
    let behind = directory.iter().skip(last.map_or(directory.len(), |last| last + 1));
    let cleared =
        behind.map(|sector| (sector, Sector { at: sector.at, content: vec![0; sector.content.len()] }));
    cleared.filter(|(old, new)| *old != new).map(|(_, new)| new).collect()
}

/// Where the root directory is.
#[derive(Debug)]
enum RootDirectory {
    /// FAT16: from this byte on, so many bytes.
    Fixed(u64, u64),
    /// FAT32: it begins in this cluster.
    Chain(u32),
}

/// Where the parts of the file system are, in bytes of the device.
#[derive(Debug)]
struct FatLayout {
    sector: u64,
    cluster: u64,
    table: u64,
    root: RootDirectory,
    data: u64,
    clusters: u64,
}

impl FatLayout {
    fn read(disk: &mut (impl Read + Seek)) -> io::Result<Self> {
        let boot = read_at(disk, 0, 512)?;
        let [word, byte] = [2, 1].map(|len| {
            let boot = &boot;
            move |at| number(boot, at, len)
        });
        let long = |at| number(&boot, at, 4);
        let sector = word(11);
        let (per_cluster, reserved, tables, entries) = (byte(13), word(14), byte(16), word(17));
        let is_32 = word(22) == 0;
        let length = if is_32 { long(36) } else { word(22) };
        let total = if word(19) == 0 { long(32) } else { word(19) };
        // Of several tables only one may count (FAT32).
        let is_mirrored = !is_32 || word(40) & 0x80 == 0;
        let is_valid = word(510) == 0xaa55
            && [512, 1024, 2048, 4096].contains(&sector)
            && per_cluster.is_power_of_two()
            && reserved > 0
            && (1..=4).contains(&tables)
            && length > 0
            && is_mirrored;
        if !is_valid {
            return Err(invalid("boot sector"));
        }
        let root = (reserved + tables * length) * sector;
        let data = root + (entries * SIZE as u64).next_multiple_of(sector);
        let clusters = (total * sector).saturating_sub(data) / (per_cluster * sector);
        // FAT12 has fewer, and no more than FAT16 has.
        if clusters < 4085 || !is_32 && clusters >= 65_525 {
            return Err(invalid("cluster count"));
        }
        let root = if is_32 {
            RootDirectory::Chain(u32::try_from(long(44)).unwrap_or_default())
        } else {
            RootDirectory::Fixed(root, data - root)
        };
        Ok(Self { sector, cluster: per_cluster * sector, table: reserved * sector, root, data, clusters })
    }

    /// The sectors of a directory, if there is one.
    fn find(&self, disk: &mut (impl Read + Seek), path: &str) -> io::Result<Option<Vec<Sector>>> {
        let mut directory = self.root(disk)?;
        for name in path.split('/') {
            let Some(first) = self.first_cluster(&directory, name) else { return Ok(None) };
            directory = self.directory(disk, first)?;
        }
        Ok(Some(directory))
    }

    fn root(&self, disk: &mut (impl Read + Seek)) -> io::Result<Vec<Sector>> {
        match self.root {
            RootDirectory::Fixed(at, length) => self.sectors(disk, at, length),
            RootDirectory::Chain(first) => self.directory(disk, first),
        }
    }

    fn directory(&self, disk: &mut (impl Read + Seek), first: u32) -> io::Result<Vec<Sector>> {
        let (width, mask, end) = match self.root {
            RootDirectory::Fixed(..) => (2, 0xffff, 0xfff8),
            RootDirectory::Chain(_) => (4, 0x0fff_ffff, 0x0fff_fff8),
        };
        let (mut sectors, mut cluster) = (vec![], u64::from(first));
        while cluster < end {
            let number_of = cluster.checked_sub(2).filter(|number| *number < self.clusters);
            let number_of = number_of.ok_or_else(|| invalid("cluster chain"))?;
            sectors.extend(self.sectors(disk, self.data + number_of * self.cluster, self.cluster)?);
            if sectors.len() as u64 * self.sector > LARGEST {
                return Err(invalid("directory length"));
            }
            cluster = number(&read_at(disk, self.table + cluster * width, width)?, 0, width) & mask;
        }
        Ok(sectors)
    }

    fn sectors(&self, disk: &mut (impl Read + Seek), at: u64, length: u64) -> io::Result<Vec<Sector>> {
        let all = read_at(disk, at, length)?;
        let sector = usize::try_from(self.sector).unwrap_or(SIZE);
        let places = (at..).step_by(sector);
        Ok(all.chunks(sector).zip(places).map(|(part, at)| Sector { at, content: part.to_vec() }).collect())
    }

    /// The first cluster of a directory in another one, by its short name, which is its name in upper case.
    fn first_cluster(&self, parent: &[Sector], name: &str) -> Option<u32> {
        let short = format!("{:11}", name.to_ascii_uppercase());
        let mut entries = parent.iter().flat_map(|sector| sector.content.chunks(SIZE));
        let entry = entries.find(|entry| {
            let attributes = number(entry, 11, 1) as u8;
            entry.starts_with(short.as_bytes()) && attributes & (VOLUME_LABEL | DIRECTORY) == DIRECTORY
        })?;
        let high = if matches!(self.root, RootDirectory::Fixed(..)) { 0 } else { number(entry, 20, 2) };
        u32::try_from(high << 16 | number(entry, 26, 2)).ok()
    }
}

/// A number of up to eight bytes; 0 where there are none.
fn number(bytes: &[u8], at: usize, len: u64) -> u64 {
    let part = bytes.iter().skip(at).take(usize::try_from(len).unwrap_or_default());
    part.rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

fn read_at(disk: &mut (impl Read + Seek), at: u64, length: u64) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(length.min(LARGEST)).unwrap_or_default()];
    disk.seek(SeekFrom::Start(at))?;
    disk.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, format!("invalid {what} of a FAT file system"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use fatfs::{FatType, FileSystem, FormatVolumeOptions, FsOptions};

    use super::*;

    /// A disk with `names` names in EFI/Linux, and as many removed ones.
    fn disk(kind: FatType, names: usize) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(if kind == FatType::Fat32 { 40 << 20 } else { 16 << 20 }).unwrap();
        let options = FormatVolumeOptions::new().fat_type(kind).bytes_per_cluster(512);
        let options = if kind == FatType::Fat16 { options.bytes_per_cluster(1024) } else { options };
        fatfs::format_volume(file.as_file_mut(), options).unwrap();
        let fat = FileSystem::new(file.as_file_mut(), FsOptions::new()).unwrap();
        let root = fat.root_dir();
        root.create_file("before.txt").unwrap().write_all(b"before").unwrap();
        root.create_dir("EFI").unwrap();
        let linux = root.create_dir("EFI/Linux").unwrap();
        for number in 0..2 * names {
            let name = format!("edge_{number}.0+3-0.efi");
            linux.create_file(&name).unwrap().write_all(name.as_bytes()).unwrap();
        }
        for number in names..2 * names {
            linux.remove(&format!("edge_{number}.0+3-0.efi")).unwrap();
        }
        drop((linux, root));
        fat.unmount().unwrap();
        file
    }

    fn entries_before_end(file: &tempfile::NamedTempFile) -> usize {
        find(file.path(), "EFI/Linux").unwrap().unwrap()
    }

    #[test]
    fn only_what_lies_behind_the_last_name_is_cleared() {
        for (kind, names) in
            [(FatType::Fat32, 6), (FatType::Fat32, 40), (FatType::Fat16, 6), (FatType::Fat16, 40)]
        {
            let file = disk(kind, names);
            let whole = std::fs::read(file.path()).unwrap();
            assert!(entries_before_end(&file) > 6 * names);
            clear(file.path(), &["EFI/Linux", "loader/entries"]).unwrap();
            // Some names are longer than others, and every directory has two of its own, of up to two entries.
            let used = 3 * names..=(3 * names + 4).next_multiple_of(512 / SIZE);
            assert!(used.contains(&entries_before_end(&file)), "{}", entries_before_end(&file));

            let now = std::fs::read(file.path()).unwrap();
            let changed = whole.iter().zip(&now).filter(|(old, new)| old != new);
            assert!(changed.clone().all(|(_, new)| *new == 0) && changed.count() <= 4 * names * SIZE);
            let fat = FileSystem::new(file.reopen().unwrap(), FsOptions::new()).unwrap();
            let linux = fat.root_dir().open_dir("EFI/Linux").unwrap();
            assert_eq!(linux.iter().count(), 2 + names);
            for number in 0..names {
                let mut content = String::new();
                let name = format!("edge_{number}.0+3-0.efi");
                linux.open_file(&name).unwrap().read_to_string(&mut content).unwrap();
                assert_eq!(content, name);
            }
            assert!(unclear_sectors(&mut file.reopen().unwrap(), &["EFI/Linux"]).unwrap().is_empty());
        }
    }

    #[test]
    fn a_missing_directory_has_nothing_to_clear() {
        let file = disk(FatType::Fat32, 1);
        assert!(
            unclear_sectors(&mut file.reopen().unwrap(), &["loader/entries", "EFI/Windows"])
                .unwrap()
                .is_empty()
        );
    }

    #[test]
    fn a_directory_without_a_name_is_left_alone() {
        let sector = |byte| Sector { at: 512, content: vec![byte; 512] };
        assert_eq!(unclear_end(&[sector(0xe5), sector(0)]), []);
        assert_eq!(find(disk(FatType::Fat32, 1).path(), "EFI/Windows").unwrap(), None);
    }

    #[test]
    fn a_sector_with_a_name_stays_as_it_is() {
        let mut last = vec![0xe5; 512];
        last[32] = b'A';
        let sector = |at, content: &[u8]| Sector { at, content: content.to_vec() };
        let directory = [sector(0, &last), sector(512, &[0xe5; 512]), sector(1024, &[0; 512])];
        assert_eq!(unclear_end(&directory), [sector(512, &[0; 512])]);
    }

    #[test]
    fn an_invalid_file_system_is_an_error_and_stays_as_it_is() {
        let file = disk(FatType::Fat32, 2);
        for (at, byte) in [(11, 3), (13, 0), (16, 0), (510, 0), (44, 1), (40, 0x80)] {
            let mut bytes = std::fs::read(file.path()).unwrap();
            bytes[at] = byte;
            assert!(unclear_sectors(&mut io::Cursor::new(bytes), &["EFI/Linux"]).is_err(), "{at}");
        }
        assert!(clear(Path::new("/dev/null"), &["EFI/Linux"]).is_err());
    }
}

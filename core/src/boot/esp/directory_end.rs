//! The end of a directory on FAT: the directory entries behind its last name, which were used before; and dead names.
//!
//! EDK2 puts a new name at the first directory entry that was never used (`FatNewEntryPos`, EnhancedFatDxe), and
//! Linux never marks a used entry as never used. So with every try that the loader counts the directory grows by a
//! name, until a rename needs several writes to the disk, and a power cut between two of them loses the boot entry.
//! Cleared entries count as never used.
//!
//! This writes to the block device itself, so it does so only while the device is not mounted. It clears only whole
//! sectors that contain no name, and marks names that [`aliases`] finds dead. Nothing reads what it changes, so an
//! interruption is harmless.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::OFlags;

use crate::boot::esp::aliases;
use crate::boot::esp::directory_entries::SIZE;
use crate::boot::esp::fat::disk::ReadAt;
use crate::boot::esp::fat::layout::{Sector, invalid};
use crate::boot::esp::fat::names::{NEVER_USED, REMOVED};
use crate::boot::esp::fat::reader::Fat;

/// Refuses a block device that is mounted or part of another (open(2)).
const EXCLUSIVE: i32 = OFlags::EXCL.bits() as i32;

/// Clears the ends of these directories, marks their dead names, and makes that durable. Does nothing on a device that is
/// in use.
///
/// # Errors
/// If the device cannot be read or written, or does not hold a valid FAT.
pub fn clear(device: &Path, directories: &[&str]) -> io::Result<()> {
    // Opening a device for writing makes udev process it again.
    if unclear_sectors(&File::open(device)?, directories)?.is_empty() {
        return Ok(());
    }
    let mut file = match OpenOptions::new().read(true).write(true).custom_flags(EXCLUSIVE).open(device) {
        Err(e) if e.kind() == ErrorKind::ResourceBusy => return Ok(()),
        file => file?,
    };
    for sector in unclear_sectors(&file, directories)? {
        file.seek(SeekFrom::Start(sector.at))?;
        file.write_all(&sector.content)?;
    }
    file.sync_all()
}

/// The sectors that are to change, in the order in which they are to be written.
fn unclear_sectors(disk: &impl ReadAt, directories: &[&str]) -> io::Result<Vec<Sector>> {
    let fat = Fat::open(disk)?;
    if !fat.layout().is_plain() {
        return Err(invalid("boot sector"));
    }
    let mut found = vec![];
    for path in directories {
        let Some(directory) = fat.directory(path)? else { continue };
        let mut new = directory.clone();
        aliases::mark(&mut new, &aliases::dead(&fat, &directory));
        clear_end(&mut new);
        let changed = directory.into_iter().zip(new).filter(|(old, new)| old != new);
        found.extend(changed.map(|(_, new)| new));
    }
    // The long part of a dead name before its short part: a short part alone is found and marked the next time.
    let (clear, marked): (Vec<_>, Vec<_>) = found.into_iter().partition(is_clear);
    Ok(marked.into_iter().chain(clear.into_iter().rev()).collect())
}

fn is_clear(sector: &Sector) -> bool {
    sector.content.iter().all(|byte| *byte == 0)
}

/// The number of directory entries before the first that was never used, where EDK2 puts the next name; `None` if
/// there is no such directory. Also right while the file system is mounted: the kernel keeps directories in the
/// device's own pages.
///
/// # Errors
/// If the device cannot be read, or does not hold a valid FAT.
pub fn find(device: &Path, directory: &str) -> io::Result<Option<usize>> {
    let sectors = Fat::open(File::open(device)?)?.directory(directory)?;
    Ok(sectors.map(|sectors| {
        let entries = sectors.iter().flat_map(|sector| sector.content.chunks(SIZE));
        entries.take_while(|entry| entry.first() != Some(&NEVER_USED)).count()
    }))
}

/// Clears the sectors behind the one with the directory's last name.
fn clear_end(directory: &mut [Sector]) {
    let is_used = |entry: &[u8]| entry.first().is_some_and(|first| ![NEVER_USED, REMOVED].contains(first));
    let last = directory.iter().rposition(|sector| sector.content.chunks(SIZE).any(is_used));
    let behind = directory.iter_mut().skip(last.map_or(usize::MAX, |last| last + 1));
    behind.for_each(|sector| sector.content.fill(0));
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use std::io::Read;

    use fatfs::{FatType, FileSystem, FormatVolumeOptions, FsOptions};

    use super::*;
    use crate::boot::esp::fat::tests::Bytes;

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
            assert!(unclear_sectors(&file.reopen().unwrap(), &["EFI/Linux"]).unwrap().is_empty());
        }
    }

    #[test]
    fn a_missing_directory_has_nothing_to_clear() {
        let file = disk(FatType::Fat32, 1);
        let missing = ["loader/entries", "EFI/Windows"];
        assert!(unclear_sectors(&file.reopen().unwrap(), &missing).unwrap().is_empty());
    }

    #[test]
    fn a_directory_without_a_name_is_left_alone() {
        let sector = |byte| Sector { at: 512, content: vec![byte; 512] };
        let mut directory = [sector(0xe5), sector(0)];
        clear_end(&mut directory);
        assert_eq!(directory, [sector(0xe5), sector(0)]);
        assert_eq!(find(disk(FatType::Fat32, 1).path(), "EFI/Windows").unwrap(), None);
    }

    #[test]
    fn a_sector_with_a_name_stays_as_it_is() {
        let mut last = vec![0xe5; 512];
        last[32] = b'A';
        let sector = |at, content: &[u8]| Sector { at, content: content.to_vec() };
        let mut directory = [sector(0, &last), sector(512, &[0xe5; 512]), sector(1024, &[0; 512])];
        clear_end(&mut directory);
        assert_eq!(directory, [sector(0, &last), sector(512, &[0; 512]), sector(1024, &[0; 512])]);
    }

    #[test]
    fn an_invalid_file_system_is_an_error_and_stays_as_it_is() {
        let file = disk(FatType::Fat32, 2);
        for (at, byte) in [(11, 3), (13, 0), (16, 0), (510, 0), (44, 1), (40, 0x80)] {
            let mut bytes = std::fs::read(file.path()).unwrap();
            bytes[at] = byte;
            assert!(unclear_sectors(&Bytes(bytes), &["EFI/Linux"]).is_err(), "{at}");
        }
        assert!(clear(Path::new("/dev/null"), &["EFI/Linux"]).is_err());
    }
}

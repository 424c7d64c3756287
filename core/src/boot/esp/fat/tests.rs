#![allow(clippy::unwrap_used, clippy::indexing_slicing)]
//! File systems that mkfs.vfat made and the crate fatfs filled, read by both.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::process::Command;
use std::rc::Rc;

use abide_testing::skip::skipped;
use fatfs::{FatType, FileSystem, FormatVolumeOptions, FsOptions};
use tempfile::NamedTempFile;

use crate::boot::esp::volume::{DirVolume, Volume};

use super::disk::ReadAt;
use super::layout::number;
use super::names::Named;
use super::reader::Fat;

/// Bytes in memory as a disk.
#[derive(Debug)]
pub(crate) struct Bytes(pub Vec<u8>);

impl ReadAt for Bytes {
    fn read_all_at(&self, bytes: &mut [u8], at: u64) -> io::Result<()> {
        let from = usize::try_from(at).ok().and_then(|at| self.0.get(at..)).unwrap_or_default();
        (&mut &*from).read_exact(bytes)
    }
}

const LONG: &str = "Edge_2026.11.30-with-a-long-name-that-takes-many-entries+3-0.efi";

/// Bytes that tell where they belong.
fn content(len: usize, seed: usize) -> Vec<u8> {
    (0..len).map(|n| ((n / 7 + seed) % 251) as u8).collect()
}

/// Fills a file system through fatfs: names of every kind, and a file in many pieces.
fn fill(file: &File) {
    let fs = FileSystem::new(file, FsOptions::new()).unwrap();
    let linux = fs.root_dir().create_dir("EFI").unwrap().create_dir("Linux").unwrap();
    for number in 0..40 {
        let mut small = linux.create_file(&format!("small file {number}")).unwrap();
        small.write_all(&content(3000, number)).unwrap();
    }
    for number in (0..40).step_by(2) {
        linux.remove(&format!("small file {number}")).unwrap();
    }
    let (mut long, mut other) = (linux.create_file(LONG).unwrap(), linux.create_file("beside it").unwrap());
    for part in content(300_000, 300_000).chunks(9000) {
        long.write_all(part).unwrap();
        other.write_all(part).unwrap();
    }
    for (name, len) in [("SHORT.EFI", 5000), ("Über.efi", 10), ("empty.efi", 0)] {
        linux.create_file(name).unwrap().write_all(&content(len, len)).unwrap();
    }
    fs.root_dir().create_file("in-root.txt").unwrap().write_all(b"root").unwrap();
    drop((linux, long, other));
    fs.unmount().unwrap();
}

/// A file system of mkfs.vfat, and of so many bytes; `None` where that is not installed.
fn made(options: &[&str], len: u64) -> Option<NamedTempFile> {
    let file = NamedTempFile::new().unwrap();
    file.as_file().set_len(len).unwrap();
    let mkfs = |program| Command::new(program).args(options).arg(file.path()).output();
    let Ok(output) = mkfs("mkfs.vfat").or_else(|_| mkfs("/usr/sbin/mkfs.vfat")) else {
        skipped("fat", "mkfs.vfat is not installed");
        return None;
    };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    fill(file.as_file());
    Some(file)
}

fn formatted() -> NamedTempFile {
    let mut file = NamedTempFile::new().unwrap();
    file.as_file().set_len(8 << 20).unwrap();
    fatfs::format_volume(file.as_file_mut(), FormatVolumeOptions::new()).unwrap();
    fill(file.as_file());
    file
}

/// Every name with what the file holds, as this reader has it.
fn read(file: &NamedTempFile) -> Vec<(String, Vec<u8>)> {
    let fat = Fat::open(Rc::new(file.reopen().unwrap())).unwrap();
    let mut all = vec![];
    for dir in ["", "efi", "EFI/LINUX"] {
        for Named { name, is_dir, len, .. } in fat.list(dir).unwrap().unwrap() {
            let mut bytes = vec![];
            if !is_dir {
                let path = format!("{dir}/{}", name.to_ascii_uppercase());
                fat.file(path.trim_start_matches('/')).unwrap().read_to_end(&mut bytes).unwrap();
                assert_eq!(bytes.len() as u64, len);
            }
            all.push((name, bytes));
        }
    }
    all
}

/// As [`read`], by fatfs.
fn read_by_fatfs(file: &NamedTempFile) -> Vec<(String, Vec<u8>)> {
    let fs = FileSystem::new(file.reopen().unwrap(), FsOptions::new()).unwrap();
    let root = fs.root_dir();
    let mut all = vec![];
    for dir in [root.clone(), root.open_dir("EFI").unwrap(), root.open_dir("EFI/Linux").unwrap()] {
        for entry in dir.iter().map(Result::unwrap).filter(|e| !e.file_name().starts_with('.')) {
            let mut bytes = vec![];
            if entry.is_file() {
                entry.to_file().read_to_end(&mut bytes).unwrap();
            }
            all.push((entry.file_name(), bytes));
        }
    }
    all
}

#[test]
fn every_kind_of_fat_is_read_as_another_reader_reads_it() {
    let kinds: [(&[&str], u64, FatType); 5] = [
        (&["-F", "12"], 4 << 20, FatType::Fat12),
        (&["-F", "16", "-s", "1"], 16 << 20, FatType::Fat16),
        (&["-F", "16", "-S", "2048", "-s", "1"], 32 << 20, FatType::Fat16),
        (&["-F", "32", "-s", "1"], 40 << 20, FatType::Fat32),
        (&["-F", "32", "-S", "4096", "-s", "1"], 300 << 20, FatType::Fat32),
    ];
    for (options, len, kind) in kinds {
        let Some(file) = made(options, len) else { return };
        let fs = FileSystem::new(file.reopen().unwrap(), FsOptions::new()).unwrap();
        assert_eq!(fs.fat_type(), kind, "{options:?}");
        drop(fs);
        let all = read(&file);
        assert_eq!(all, read_by_fatfs(&file), "{options:?}");
        assert!(all.contains(&(LONG.into(), content(300_000, 300_000))), "{options:?}");
        assert_eq!(all.len(), 28, "{options:?}");
    }
}

/// fatfs takes such a file system for FAT16, or refuses it; Linux, mkfs.vfat and systemd-repart do not.
#[test]
fn fat32_is_told_by_its_boot_sector_and_not_by_its_clusters() {
    for sector in [512_u32, 4096] {
        let size = sector.to_string();
        let Some(file) = made(&["-F", "32", "-S", &size, "-s", "1"], 67_000 * u64::from(sector)) else {
            return;
        };
        let before = read(&file);
        assert!(!Fat::open(file.as_file()).unwrap().layout().is_too_small());
        // A shorter disk, so that 16000 clusters are left; the files are at its beginning.
        file.as_file().set_len(20_000 * u64::from(sector)).unwrap();
        file.as_file().write_all_at(&20_000_u32.to_le_bytes(), 32).unwrap();
        file.as_file().write_all_at(&[0; 2], 19).unwrap();
        let volume = DirVolume::new("/nowhere");
        assert!(!volume.has_few_clusters().unwrap());
        assert!(volume.on(file.path().into()).has_few_clusters().unwrap());
        assert_eq!(read(&file), before);
    }
    // As systemd-repart calls it.
    let file = NamedTempFile::new().unwrap();
    file.as_file().set_len(64 << 20).unwrap();
    let options = ["-F", "32", "-S", "4096", "-s", "1"];
    assert!(Command::new("mkfs.vfat").args(options).arg(file.path()).output().unwrap().status.success());
    assert_eq!(Fat::open(file.as_file()).unwrap().list("").unwrap(), Some(vec![]));
}

#[test]
fn any_part_of_a_file_in_pieces_can_be_read() {
    let file = formatted();
    let fat = Fat::open(Rc::new(file.reopen().unwrap())).unwrap();
    let (whole, mut reader) = (content(300_000, 300_000), fat.file(&format!("EFI/Linux/{LONG}")).unwrap());
    for (at, len) in [(299_990, 20), (0, 1), (4090, 9000), (150_000, 60_000), (300_000, 5), (400_000, 5)] {
        let mut part = vec![];
        reader.seek(SeekFrom::Start(at)).unwrap();
        reader.by_ref().take(len).read_to_end(&mut part).unwrap();
        let at = usize::try_from(at).unwrap().min(whole.len());
        let end = (at + usize::try_from(len).unwrap()).min(whole.len());
        assert!(part == whole[at..end], "{at}");
    }
}

/// Where the directory entries of a name in EFI/Linux begin, and its first cluster.
fn named(file: &NamedTempFile, name: &str) -> Named {
    let names = Fat::open(file.as_file()).unwrap().list("EFI/Linux").unwrap().unwrap();
    names.into_iter().find(|named| named.is(name)).unwrap()
}

fn name_at(file: &NamedTempFile, place: u64) -> Option<String> {
    let names = Fat::open(file.as_file()).unwrap().list("EFI/Linux").unwrap().unwrap();
    names.into_iter().find(|named| named.places.last() == Some(&place)).map(|named| named.name)
}

#[test]
fn a_damaged_long_name_leaves_the_short_one() {
    // The number of a part, its attributes, its checksum; and the part that comes first is gone.
    for (part, offset, byte) in [(1, 0, 9), (2, 11, 0x20), (3, 13, 0xaa), (0, 0, 0xe5)] {
        let file = formatted();
        let Named { places, short, .. } = named(&file, LONG);
        assert_eq!(places.len(), 6);
        let last = places[5];
        assert_eq!(name_at(&file, last).as_deref(), Some(LONG));
        file.as_file().write_all_at(&[byte], places[part] + offset).unwrap();
        assert_eq!(name_at(&file, last), Some(short));
    }
    // Another system has renamed the file, and knew no long names.
    let file = formatted();
    let last = named(&file, LONG).places[5];
    file.as_file().write_all_at(b"OTHER   TXT", last).unwrap();
    assert_eq!(name_at(&file, last).as_deref(), Some("OTHER.TXT"));
}

#[test]
fn a_short_name_may_be_in_lower_case_and_removed_ones_are_not_shown() {
    let file = formatted();
    let places = named(&file, "SHORT.EFI").places;
    let place = *places.last().unwrap();
    // fatfs gives it a long name, too.
    file.as_file().write_all_at(&[0xe5], places[0]).unwrap();
    assert_eq!(name_at(&file, place).as_deref(), Some("SHORT.EFI"));
    file.as_file().write_all_at(&[0x18], place + 12).unwrap();
    assert_eq!(name_at(&file, place).as_deref(), Some("short.efi"));
    file.as_file().write_all_at(&[0xe5], place).unwrap();
    assert_eq!(name_at(&file, place), None);
}

/// As for Linux; firmware does not look behind it.
#[test]
fn names_behind_an_entry_that_was_never_used_are_read() {
    let file = formatted();
    let place = *named(&file, "SHORT.EFI").places.last().unwrap();
    let after = *named(&file, "empty.efi").places.last().unwrap();
    file.as_file().write_all_at(&[0], place).unwrap();
    assert_eq!(name_at(&file, after).as_deref(), Some("empty.efi"));
}

/// The place of a cluster in the table of the FAT12 or FAT16 that `formatted` makes.
fn set_next(file: &NamedTempFile, cluster: u32, next: u16) {
    let mut boot = [0; 512];
    ReadAt::read_all_at(file.as_file(), &mut boot, 0).unwrap();
    let table = number(&boot, 14, 2) * number(&boot, 11, 2);
    let place = table + u64::from(cluster) * 2;
    let fs = FileSystem::new(file.reopen().unwrap(), FsOptions::new()).unwrap();
    assert_eq!(fs.fat_type(), FatType::Fat16);
    file.as_file().write_all_at(&next.to_le_bytes(), place).unwrap();
}

#[test]
fn a_directory_in_a_circle_is_an_error() {
    let file = formatted();
    let names = Fat::open(file.as_file()).unwrap().list("EFI").unwrap().unwrap();
    let linux = names.iter().find(|named| named.name == "Linux").unwrap().first;
    set_next(&file, linux, u16::try_from(linux).unwrap());
    let fat = Fat::open(file.as_file()).unwrap();
    assert!(fat.list("EFI/Linux").unwrap_err().to_string().contains("directory length"));
    assert!(fat.list("EFI").is_ok());
}

#[test]
fn a_file_in_a_circle_ends_with_its_length() {
    let file = formatted();
    let first = named(&file, LONG).first;
    set_next(&file, first, u16::try_from(first).unwrap());
    let fat = Fat::open(Rc::new(file.reopen().unwrap())).unwrap();
    let mut bytes = vec![];
    fat.file(&format!("EFI/Linux/{LONG}")).unwrap().read_to_end(&mut bytes).unwrap();
    assert_eq!(bytes.len(), 300_000);
}

#[test]
fn a_chain_that_ends_too_early_is_an_error() {
    // Its end, a free cluster, one that does not exist, a bad one.
    for next in [0xffff, 0, 0xfff0, 0xfff7] {
        let file = formatted();
        set_next(&file, named(&file, LONG).first, next);
        let fat = Fat::open(Rc::new(file.reopen().unwrap())).unwrap();
        let mut bytes = vec![];
        let error = fat.file(&format!("EFI/Linux/{LONG}")).unwrap().read_to_end(&mut bytes).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{next:x}");
    }
}

#[test]
fn a_file_that_is_longer_than_the_disk_is_an_error() {
    let file = formatted();
    let place = *named(&file, LONG).places.last().unwrap();
    file.as_file().write_all_at(&u32::MAX.to_le_bytes(), place + 28).unwrap();
    let fat = Fat::open(Rc::new(file.reopen().unwrap())).unwrap();
    assert!(fat.file(&format!("EFI/Linux/{LONG}")).is_err());
}

#[test]
fn a_truncated_disk_is_an_error_and_no_panic() {
    let file = formatted();
    let whole = std::fs::read(file.path()).unwrap();
    for len in [0, 10, 511, 512, 3000, 20_000, 40_000, 100_000] {
        let disk = Bytes(whole[..len].to_vec());
        let read = Fat::open(&disk).and_then(|fat| {
            let mut bytes = vec![];
            fat.file(&format!("EFI/Linux/{LONG}"))?.read_to_end(&mut bytes)
        });
        assert!(read.is_err(), "{len}");
    }
}

#[test]
fn what_linux_takes_for_no_fat_is_none() {
    let whole = std::fs::read(formatted().path()).unwrap();
    for (at, byte) in [(11, 3), (12, 32), (13, 3), (13, 0), (16, 0), (17, 1), (21, 0xf1), (22, 1)] {
        let mut bytes = whole[..512].to_vec();
        bytes[at] = byte;
        let is_shorter = at == 22;
        assert_eq!(Fat::open(&Bytes(bytes)).is_err(), !is_shorter, "{at}");
    }
    assert!(Fat::open(&Bytes(vec![0; 4096])).is_err());
}

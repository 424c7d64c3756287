//! Partition tables and FATs.

use std::io::{Cursor, Read, Write};

use abide::disk::gpt::PartitionTable;
use abide::image::{Esp, Layout, Spool};
use abide_core::boot::esp::directory_end;
use abide_core::boot::esp::fat::FatVolume;
use abide_core::boot::esp::volume::Volume;
use abide_testing::image::{Image, front};

use crate::used::used;

/// The beginning of an image, and a whole disk.
pub fn gpt(bytes: &[u8]) {
    if let Ok(layout) = Layout::parse(bytes, "fuzz") {
        for partition in &layout.partitions {
            assert!(partition.start <= partition.end(), "{partition:?}");
            assert!(partition.end() <= layout.disk_len, "{partition:?} of {}", layout.disk_len);
        }
        used((layout.esp("fuzz").is_ok(), layout.root("fuzz").is_ok()));
    }
    if let Ok(table) = PartitionTable::read(&mut Cursor::new(bytes)) {
        used(table.disk_len());
    }
}

pub fn gpt_seeds() -> Vec<Vec<u8>> {
    let parts = [
        ("esp", gpt::partition_types::EFI, 1 << 20),
        ("root", gpt::partition_types::LINUX_ROOT_X64, (4 << 30) + 4096),
    ];
    let mut seeds = vec![front(&parts).0];
    for sector in [512, 4096] {
        let image = Image { sector, uki: None, root: vec![1; 4096], ..Image::new("1", "b") };
        let mut bytes = image.bytes();
        bytes.truncate(abide::image::HEAD);
        seeds.push(bytes);
    }
    seeds
}

/// The ESP as the initramfs reads it on a committed boot.
pub fn fat(bytes: &[u8]) {
    let Ok(mut file) = tempfile::NamedTempFile::new_in("/dev/shm") else { return };
    if file.write_all(bytes).is_err() {
        return;
    }
    used(directory_end::clear(file.path(), &["EFI/Linux", "loader/entries"]));
    let Ok(volume) = FatVolume::open(file.path()) else { return };
    for dir in ["", "EFI", "EFI/Linux", "EFI/abide"] {
        for item in volume.list(dir).unwrap_or_default() {
            let path = format!("{dir}/{}", item.name);
            if let Ok(mut reader) = volume.open(path.trim_start_matches('/')) {
                used(reader.by_ref().take(1 << 16).read_to_end(&mut Vec::new()));
            }
        }
    }
}

/// The ESP of an image.
pub fn image_esp(bytes: &[u8]) {
    let mut spool = Spool::new(vec![]);
    let mut from = bytes;
    let kept = spool.keep_all(bytes.len() as u64, |to| {
        from.read_exact(to).map_err(|e| abide_core::error::Error::Image(e.to_string()))
    });
    if kept.is_err() {
        return;
    }
    if let Ok(esp) = Esp::open(spool, "fuzz")
        && let Ok(uki) = esp.uki()
    {
        used(uki.take(1 << 16).read_to_end(&mut Vec::new()));
    }
}

pub fn fat_seeds() -> Vec<Vec<u8>> {
    // FAT12, as small as it gets.
    let fat12 = |uki| Image { uki, ..Image::new("1", "b") }.esp()[..64 << 10].to_vec();
    vec![fat12(None), fat12(Some(b"MZ".repeat(2000))), fat32()]
}

/// FAT32 with hardly a cluster, which fatfs does not make; with a file in two pieces and a second name of it.
fn fat32() -> Vec<u8> {
    let mut disk = vec![0; 16 << 9];
    let mut put = |at: usize, bytes: &[u8]| disk[at..at + bytes.len()].copy_from_slice(bytes);
    // 512 bytes a sector, one sector a cluster, one reserved, one table; 16 sectors, the table has one, and the root
    // directory begins in cluster 2.
    put(11, &[0, 2, 1, 1, 0, 1, 0, 0, 0, 0, 0xf8]);
    put(32, &[16, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 2]);
    put(510, &[0x55, 0xaa]);
    for (cluster, next) in
        [(2, 0x0fff_ffff_u32), (3, 0x0fff_ffff), (4, 0x0fff_ffff), (5, 7), (7, 0x0fff_ffff)]
    {
        put(512 + 4 * cluster, &next.to_le_bytes());
    }
    let mut name = |directory: usize, number: usize, name: &[u8; 11], attributes: u8, first: u8, len: u16| {
        let at = directory * 512 + number * 32;
        put(at, name);
        put(at + 11, &[attributes]);
        put(at + 26, &[first]);
        put(at + 28, &len.to_le_bytes());
    };
    name(2, 0, b"EFI        ", 0x10, 3, 0);
    name(3, 0, b"LINUX      ", 0x10, 4, 0);
    name(4, 0, b"A       EFI", 0x20, 5, 700);
    name(4, 1, b"SHARED0 TMP", 0x20, 5, 700);
    disk
}

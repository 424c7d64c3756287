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
    [None, Some(b"MZ".repeat(2000))]
        .map(|uki| Image { uki, ..Image::new("1", "b") }.esp()[..64 << 10].to_vec())
        .into()
}

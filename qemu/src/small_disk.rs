//! Disks that are small enough to be kept in memory by the hundred: an ESP and, where wanted, an
//! XBOOTLDR partition.

use std::io::{Cursor, Write};

use fatfs::{FatType, FileSystem, FormatVolumeOptions, FsOptions};
use gpt::GptConfig;
use gpt::disk::LogicalBlockSize;
use gpt::partition_types;

use crate::esp::BUILT;
use crate::{Error, Result};

/// Bytes in a block.
const BLOCK: usize = 512;

/// The size of every such disk.
pub const BYTES: usize = 1312 * BLOCK;

/// Where the two partitions lie, in blocks: the first one and how many. In front of them and
/// behind are the two partition tables.
const PARTITIONS: [(usize, usize); 2] = [(40, 900), (944, 300)];

/// A file to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Its path, with `/` between the parts.
    pub path: String,
    /// What it holds.
    pub content: Vec<u8>,
    /// Whether it carries FAT's read-only attribute.
    pub read_only: bool,
}

/// A disk with these files on its ESP, and with an XBOOTLDR partition where there are files
/// for one.
///
/// # Errors
/// When the files do not fit, or two have one name.
pub fn create(esp: &[File], xbootldr: Option<&[File]>) -> Result<Vec<u8>> {
    let bad = |cause: String| Error::Disk { disk: "a small disk".into(), cause };
    let mut disk = Cursor::new(vec![0; BYTES]);
    gpt::mbr::ProtectiveMBR::with_lb_size(u32::try_from(BYTES / BLOCK - 1).unwrap_or(u32::MAX))
        .overwrite_lba0(&mut disk)
        .map_err(|error| bad(error.to_string()))?;
    let mut table = GptConfig::new()
        .writable(true)
        .logical_block_size(LogicalBlockSize::Lb512)
        .create_from_device(disk, None)
        .map_err(|error| bad(error.to_string()))?;
    let kinds = [("esp", partition_types::EFI), ("xbootldr", partition_types::FREEDESK_BOOT)];
    let wanted = 1 + usize::from(xbootldr.is_some());
    for (id, ((start, blocks), (name, kind))) in (1..).zip(PARTITIONS.into_iter().zip(kinds).take(wanted)) {
        table
            .add_partition_at(name, id, start as u64, blocks as u64, kind, 0)
            .map_err(|error| bad(error.to_string()))?;
    }
    let mut disk = table.write().map_err(|error| bad(error.to_string()))?.into_inner();
    for (index, files) in [Some(esp), xbootldr].into_iter().enumerate() {
        let Some(files) = files else { continue };
        let volume = format(files, PARTITIONS.get(index).map_or(0, |(_, blocks)| *blocks))
            .map_err(Error::doing(format!("fill partition {index} of a small disk")))?;
        let place = partition_mut(&mut disk, index).ok_or_else(|| bad("no such partition".into()))?;
        place.copy_from_slice(&volume);
    }
    Ok(disk)
}

/// The file system in a partition: 0 is the ESP, 1 XBOOTLDR.
pub fn partition(disk: &[u8], index: usize) -> Option<&[u8]> {
    let (start, blocks) = PARTITIONS.get(index)?;
    disk.get(start * BLOCK..(start + blocks) * BLOCK)
}

fn partition_mut(disk: &mut [u8], index: usize) -> Option<&mut [u8]> {
    let (start, blocks) = PARTITIONS.get(index)?;
    disk.get_mut(start * BLOCK..(start + blocks) * BLOCK)
}

fn format(files: &[File], blocks: usize) -> std::io::Result<Vec<u8>> {
    let mut volume = Cursor::new(vec![0; blocks * BLOCK]);
    let options = FormatVolumeOptions::new().fat_type(FatType::Fat12).bytes_per_cluster(512);
    fatfs::format_volume(&mut volume, options)?;
    let fat = FileSystem::new(&mut volume, FsOptions::new().time_provider(&BUILT))?;
    let mut read_only = Vec::new();
    for file in files {
        let mut dir = fat.root_dir();
        let (folder, name) = file.path.rsplit_once('/').unwrap_or(("", &file.path));
        for part in folder.split('/').filter(|part| !part.is_empty()) {
            dir = dir.create_dir(part)?;
        }
        let mut handle = dir.create_file(name)?;
        handle.write_all(&file.content)?;
        handle.flush()?;
        if file.read_only {
            let entries = dir.iter().collect::<std::io::Result<Vec<_>>>()?;
            let entry = entries.iter().find(|entry| entry.file_name() == name);
            read_only.extend(entry.map(fatfs::DirEntry::short_file_name_as_bytes).map(eleven));
        }
    }
    drop(fat);
    let mut volume = volume.into_inner();
    // The crate cannot set the attribute: it is the byte behind the short name.
    for record in volume.as_chunks_mut::<32>().0 {
        if read_only.iter().any(|short| record.starts_with(short))
            && let Some(attributes) = record.get_mut(11)
        {
            *attributes |= 1;
        }
    }
    Ok(volume)
}

/// A short name as a folder holds it: 8 and 3 characters, padded with blanks.
fn eleven(short: &[u8]) -> Vec<u8> {
    let mut parts = short.split(|byte| *byte == b'.');
    let mut padded = |width| {
        let mut part = parts.next().unwrap_or_default().to_vec();
        part.resize(width, b' ');
        part
    };
    let mut name = padded(8);
    name.extend(padded(3));
    name
}

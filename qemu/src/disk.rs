//! Disks as files: a partition table, and partitions as slices of the file.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

use gpt::GptConfig;
use gpt::disk::LogicalBlockSize;
use gpt::partition_types::{self, Type};

use crate::{Error, Result};

/// Bytes in a MiB.
pub const MIB: u64 = 1 << 20;

/// The part of a disk's file that one partition covers, as a file of its own.
#[derive(Debug)]
pub struct Slice {
    file: File,
    start: u64,
    length: u64,
    position: u64,
}

impl Slice {
    /// Opens the first EFI system partition of the disk for reading and writing.
    ///
    /// # Errors
    /// When the file cannot be opened, has no valid GPT, or no such partition.
    pub fn esp(disk: &Path) -> Result<Slice> {
        Slice::of_type(disk, &partition_types::EFI)
    }

    fn of_type(disk: &Path, kind: &Type) -> Result<Slice> {
        let bad = |cause: String| Error::Disk { disk: disk.display().to_string(), cause };
        let table = GptConfig::new().open(disk).map_err(|error| bad(format!("no readable GPT: {error}")))?;
        let partition = table
            .partitions()
            .values()
            .find(|partition| partition.part_type_guid.guid == kind.guid)
            .ok_or_else(|| bad(format!("no partition of type {}", kind.guid)))?;
        let size = LogicalBlockSize::Lb512;
        let range = partition.bytes_start(size).and_then(|start| Ok((start, partition.bytes_len(size)?)));
        let (start, length) = range.map_err(|error| bad(error.to_string()))?;
        let file = OpenOptions::new().read(true).write(true).open(disk);
        Ok(Slice { file: file.map_err(Error::at("open", disk))?, start, length, position: 0 })
    }

    fn clip(&self, wanted: usize) -> usize {
        let left = self.length.saturating_sub(self.position);
        usize::try_from(left).map_or(wanted, |left| left.min(wanted))
    }

    fn go(&mut self) -> io::Result<()> {
        let target = SeekFrom::Start(self.start + self.position);
        self.file.seek(target).map(drop)
    }
}

impl Read for Slice {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.go()?;
        let count = self.clip(buffer.len());
        let count = self.file.read(buffer.get_mut(..count).unwrap_or_default())?;
        self.position += count as u64;
        Ok(count)
    }
}

impl Write for Slice {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.go()?;
        let count = self.clip(buffer.len());
        let count = self.file.write(buffer.get(..count).unwrap_or_default())?;
        self.position += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Seek for Slice {
    fn seek(&mut self, target: SeekFrom) -> io::Result<u64> {
        let position = match target {
            SeekFrom::Start(offset) => Some(offset),
            SeekFrom::End(offset) => self.length.checked_add_signed(offset),
            SeekFrom::Current(offset) => self.position.checked_add_signed(offset),
        };
        self.position = position.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.position)
    }
}

/// A partition to be made.
#[derive(Debug, Clone)]
pub struct Partition {
    /// Its label.
    pub label: String,
    /// Its type.
    pub kind: Type,
    /// Its own UUID; a random one where there is none.
    pub uuid: Option<String>,
    /// Its size in MiB.
    pub mebibytes: u64,
}

/// Creates a disk image with these partitions one after the other, the first one at 1 MiB, all of
/// them empty. They are numbered from 1.
///
/// # Errors
/// When the file cannot be written, or a UUID is none.
pub fn create(disk: &Path, partitions: &[Partition]) -> Result<()> {
    let bad = |cause: String| Error::Disk { disk: disk.display().to_string(), cause };
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .open(disk)
        .map_err(Error::at("create", disk))?;
    let mebibytes: u64 = partitions.iter().map(|partition| partition.mebibytes).sum();
    let bytes = (mebibytes + 2) * MIB;
    file.set_len(bytes).map_err(Error::at("extend", disk))?;
    let sectors = u32::try_from(bytes / 512 - 1).unwrap_or(u32::MAX);
    gpt::mbr::ProtectiveMBR::with_lb_size(sectors)
        .overwrite_lba0(&mut file)
        .map_err(|error| bad(error.to_string()))?;
    let mut table = GptConfig::new()
        .writable(true)
        .logical_block_size(LogicalBlockSize::Lb512)
        .create_from_device(file, None)
        .map_err(|error| bad(error.to_string()))?;
    let mut start = MIB;
    for (number, partition) in (1..).zip(partitions) {
        let length = partition.mebibytes * MIB;
        table
            .add_partition_at(&partition.label, number, start / 512, length / 512, partition.kind.clone(), 0)
            .map_err(|error| bad(error.to_string()))?;
        start += length;
    }
    let mut entries = table.partitions().clone();
    for (entry, partition) in entries.values_mut().zip(partitions) {
        if let Some(uuid) = &partition.uuid {
            entry.part_guid = uuid.parse().map_err(|_| bad(format!("{uuid} is not a UUID")))?;
        }
    }
    table.update_partitions(entries).map_err(|error| bad(error.to_string()))?;
    table.write().map(drop).map_err(|error| bad(error.to_string()))
}

/// Puts an empty FAT onto the ESP of a disk image.
///
/// # Errors
/// When the disk has none, or it cannot be written.
pub fn format_esp(disk: &Path) -> Result<()> {
    let options = fatfs::FormatVolumeOptions::new().bytes_per_cluster(4096);
    fatfs::format_volume(Slice::esp(disk)?, options).map_err(Error::at("format the ESP of", disk))
}

/// Creates a disk image that holds nothing but an ESP of `mebibytes` MiB with an empty FAT.
///
/// # Errors
/// When the file cannot be written.
pub fn create_with_esp(disk: &Path, mebibytes: u64) -> Result<()> {
    let esp = Partition { label: "esp".into(), kind: partition_types::EFI, uuid: None, mebibytes };
    create(disk, &[esp])?;
    format_esp(disk)
}

//! Whole-disk images as they would be published, made in memory.

use std::io::{Cursor, Read, Seek, SeekFrom, Write};

use fatfs::{FileSystem, FormatVolumeOptions, FsOptions, format_volume};
use gpt::disk::LogicalBlockSize;
use gpt::partition_types::{EFI, LINUX_FS, LINUX_ROOT_X64, Type};

use crate::tree::cmdline;
use crate::uki::uki;

/// The GUID of dm-verity hashes (Discoverable Partitions Specification).
const LINUX_ROOT_X64_VERITY: Type = Type {
    guid: uuid::Uuid::from_u128(0x2c7357ed_ebd2_46d9_aec1_23d437ec2bf5),
    os: gpt::partition_types::OperatingSystem::Linux,
};

const MIB: u64 = 1 << 20;

/// What to put into an image. The default is whole and fits slot b of the tree.
#[derive(Debug, Clone)]
pub struct Image {
    /// Bytes of the UKI; none: an ESP without one.
    pub uki: Option<Vec<u8>>,
    /// The path of a file in `EFI/Linux` beside the UKI.
    pub beside: Option<&'static str>,
    pub root: Vec<u8>,
    pub root_type: Type,
    pub root_label: String,
    pub sector: u64,
    /// The root before the ESP.
    pub root_first: bool,
    /// A partition behind the others.
    pub data: Vec<u8>,
    /// dm-verity hashes behind the root.
    pub verity: Vec<u8>,
}

impl Image {
    /// `edge` in `version`, for a slot of the tree.
    pub fn new(version: &str, slot: &str) -> Self {
        Self {
            uki: Some(uki("edge", version, &cmdline(slot))),
            beside: None,
            root: noise(600 * 1024, version.bytes().map(u64::from).sum()),
            root_type: LINUX_ROOT_X64,
            root_label: format!("edge_{version}"),
            sector: 512,
            root_first: false,
            data: vec![],
            verity: vec![],
        }
    }

    pub fn with_cmdline(version: &str, cmdline: &str) -> Self {
        Self { uki: Some(uki("edge", version, cmdline)), ..Self::new(version, "b") }
    }

    /// The whole disk.
    pub fn bytes(&self) -> Vec<u8> {
        let esp = self.esp();
        let mut parts =
            vec![("esp", EFI, esp), (self.root_label.as_str(), self.root_type.clone(), self.root.clone())];
        if self.root_first {
            parts.swap(0, 1);
        }
        if !self.verity.is_empty() {
            parts.push(("root-verity", LINUX_ROOT_X64_VERITY, self.verity.clone()));
        }
        if !self.data.is_empty() {
            parts.push(("data", LINUX_FS, self.data.clone()));
        }
        let sizes: Vec<(&str, Type, u64)> =
            parts.iter().map(|(l, t, d)| (*l, t.clone(), d.len() as u64)).collect();
        let (mut disk, starts) = table(&sizes, self.sector);
        for ((_, _, data), start) in parts.iter().zip(starts) {
            disk[usize::try_from(start).unwrap()..][..data.len()].copy_from_slice(data);
        }
        disk
    }

    pub fn gz(&self) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(&self.bytes()).unwrap();
        encoder.finish().unwrap()
    }

    pub fn zst(&self) -> Vec<u8> {
        zst(&self.bytes())
    }

    /// The content of the root's slot after it was written, behind it what was there before.
    pub fn in_slot(&self, before: &[u8]) -> Vec<u8> {
        let mut slot = before.to_vec();
        slot[..self.root.len()].copy_from_slice(&self.root);
        slot
    }

    /// Its ESP.
    pub fn esp(&self) -> Vec<u8> {
        // One MiB, unless the UKI takes more.
        let len = (self.uki.as_ref().map_or(0, Vec::len) * 5 / 4).next_multiple_of(MIB as usize);
        let mut esp = Cursor::new(vec![0; len.max(MIB as usize)]);
        let sector = u16::try_from(self.sector).unwrap();
        format_volume(&mut esp, FormatVolumeOptions::new().bytes_per_sector(sector)).unwrap();
        esp.seek(SeekFrom::Start(0)).unwrap();
        let fs = FileSystem::new(&mut esp, FsOptions::new()).unwrap();
        let dir = fs.root_dir().create_dir("EFI").unwrap().create_dir("Linux").unwrap();
        if let Some(uki) = &self.uki {
            dir.create_file("edge-from-the-image.efi").unwrap().write_all(uki).unwrap();
        }
        if let Some((folder, file)) = self.beside.and_then(|path| path.split_once('/')) {
            dir.create_dir(folder).unwrap().create_file(file).unwrap().write_all(b"addon").unwrap();
        }
        drop(dir);
        fs.unmount().unwrap();
        esp.into_inner()
    }
}

/// A disk with these partitions (label, type, bytes), and where each starts.
pub fn table(parts: &[(&str, Type, u64)], sector: u64) -> (Vec<u8>, Vec<u64>) {
    let device = Cursor::new(vec![0; usize::try_from(disk_len(parts)).unwrap()]);
    let (device, starts) = partition(device, parts, sector);
    (device.into_inner(), starts)
}

fn disk_len(parts: &[(&str, Type, u64)]) -> u64 {
    2 * MIB + parts.iter().map(|(_, _, len)| len.next_multiple_of(MIB)).sum::<u64>()
}

/// Writes a partition table, the same one each time.
fn partition<D: gpt::DiskDevice>(device: D, parts: &[(&str, Type, u64)], sector: u64) -> (D, Vec<u64>) {
    let size = LogicalBlockSize::try_from(sector).unwrap();
    let config = gpt::GptConfig::new().writable(true).logical_block_size(size);
    let mut disk = config.create_from_device(device, Some(uuid::Uuid::from_u128(1))).unwrap();
    let (mut at, mut starts) = (MIB, vec![]);
    for (number, (label, ty, len)) in (1..).zip(parts) {
        disk.add_partition_at(label, number, at / sector, len.div_ceil(sector), ty.clone(), 0).unwrap();
        starts.push(at);
        at += len.next_multiple_of(MIB);
    }
    let mut table = disk.partitions().clone();
    for (number, entry) in &mut table {
        entry.part_guid = uuid::Uuid::from_u128(0x1_0000 + u128::from(*number));
    }
    disk.update_partitions(table).unwrap();
    (disk.write().unwrap(), starts)
}

/// The first bytes of a disk of any size, up to its first partition, without the rest.
pub fn front(parts: &[(&str, Type, u64)]) -> (Vec<u8>, Vec<u64>, u64) {
    /// Reads as zeros beyond what was written at the front; forgets what is written far behind.
    #[derive(Debug)]
    struct Front {
        front: Vec<u8>,
        len: u64,
        at: u64,
    }
    impl Read for Front {
        fn read(&mut self, to: &mut [u8]) -> std::io::Result<usize> {
            to.fill(0);
            if let Some(from) = usize::try_from(self.at).ok().and_then(|at| self.front.get(at..)) {
                let count = from.len().min(to.len());
                to[..count].copy_from_slice(&from[..count]);
            }
            self.at += to.len() as u64;
            Ok(to.len())
        }
    }
    impl Write for Front {
        fn write(&mut self, from: &[u8]) -> std::io::Result<usize> {
            if let Some(to) = usize::try_from(self.at).ok().and_then(|at| self.front.get_mut(at..)) {
                let count = from.len().min(to.len());
                to[..count].copy_from_slice(&from[..count]);
            }
            self.at += from.len() as u64;
            Ok(from.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    impl Seek for Front {
        fn seek(&mut self, to: SeekFrom) -> std::io::Result<u64> {
            self.at = match to {
                SeekFrom::Start(n) => n,
                SeekFrom::Current(n) => self.at.checked_add_signed(n).unwrap(),
                SeekFrom::End(n) => self.len.checked_add_signed(n).unwrap(),
            };
            Ok(self.at)
        }
    }
    let len = disk_len(parts);
    let (device, starts) = partition(Front { front: vec![0; MIB as usize], len, at: 0 }, parts, 512);
    (device.front, starts, len)
}

pub fn zst(bytes: &[u8]) -> Vec<u8> {
    zstd::stream::encode_all(bytes, 1).unwrap()
}

/// Bytes that no codec can compress and that contain no empty page.
pub fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut x = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    (0..len)
        .map(|_| {
            x ^= x << 13;
            x ^= x >> 7;
            x ^= x << 17;
            (x >> 32) as u8
        })
        .collect()
}

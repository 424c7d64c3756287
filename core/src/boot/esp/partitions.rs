//! The partitions of this machine with their GPT types, from sysfs and the tables
//! themselves: it needs no udev, which in the initramfs may not be done yet.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use log::debug;

use crate::root::Root;

/// The type of the EFI system partition (UEFI specification).
pub(super) const ESP_TYPE: &str = "c12a7328-f81f-11d2-ba4b-00a0c93ec93b";
/// The type of the extended boot loader partition (Discoverable Partitions Specification).
pub(super) const XBOOTLDR_TYPE: &str = "bc13c2ff-59e6-4262-a352-b275fd6f7172";

/// A GPT partition that the kernel knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Part {
    /// `sda1`
    pub(super) name: String,
    /// The disk that it lies on: `sda`.
    pub(super) disk: String,
    /// `MAJOR:MINOR`, as mountinfo has it.
    pub(super) devno: String,
    /// The type's GUID, in lower case.
    pub(super) kind: String,
    /// The partition's own GUID, in lower case.
    pub(super) uuid: String,
}

impl Part {
    /// The device node.
    pub(super) fn node(&self, root: &Root) -> PathBuf {
        root.path("/dev").join(&self.name)
    }
}

/// All partitions of all disks with a GPT; what cannot be read is left out.
pub(super) fn list(root: &Root) -> Vec<Part> {
    let block = root.path("/sys/class/block");
    let mut parts = Vec::new();
    for disk in names(&block) {
        // Partitions are folders of their disk that hold a file `partition`.
        let of_disk: Vec<(String, u32)> = names(&block.join(&disk))
            .into_iter()
            .filter_map(|name| {
                let number = line(&block.join(&disk).join(&name).join("partition"))?.parse().ok()?;
                Some((name, number))
            })
            .collect();
        if of_disk.is_empty() {
            continue;
        }
        let lba = line(&block.join(&disk).join("queue/logical_block_size"));
        let lba = lba.and_then(|l| l.parse().ok()).unwrap_or(512);
        let table = match File::open(root.path("/dev").join(&disk)).and_then(|f| read_table(f, lba)) {
            Ok(table) => table,
            Err(e) => {
                debug!("/dev/{disk}: no GPT read: {e}");
                continue;
            }
        };
        for (name, number) in of_disk {
            let Some((kind, uuid)) = table.iter().find(|t| t.0 == number).map(|t| (t.1.clone(), t.2.clone()))
            else {
                continue;
            };
            let Some(devno) = line(&block.join(&disk).join(&name).join("dev")) else { continue };
            parts.push(Part { name, disk: disk.clone(), devno, kind, uuid });
        }
    }
    parts
}

/// Where a partition lies on its disk, in the disk's logical blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// Its number in the table, from 1.
    pub number: u32,
    /// Its first block.
    pub start: u64,
    /// How many blocks it has.
    pub size: u64,
}

/// The place of the partition with this GUID (in lower case); `None` if no disk has it.
#[must_use]
pub fn extent(root: &Root, uuid: &str) -> Option<Extent> {
    let part = list(root).into_iter().find(|p| p.uuid == uuid)?;
    let disk = root.path("/sys/class/block").join(&part.disk);
    let number = |path: &Path| line(path)?.parse::<u64>().ok();
    let lba = number(&disk.join("queue/logical_block_size")).unwrap_or(512);
    // The kernel counts in 512 bytes whatever the disk does.
    let blocks = |name: &str| number(&disk.join(&part.name).join(name))?.checked_mul(512)?.checked_div(lba);
    let index = number(&disk.join(&part.name).join("partition"))?;
    Some(Extent { number: u32::try_from(index).ok()?, start: blocks("start")?, size: blocks("size")? })
}

/// The disk below a block device: through partitions, device mapper and the like.
pub(super) fn disk_of(root: &Root, devno: &str) -> Option<String> {
    let block = root.path("/sys/class/block");
    let mut name =
        names(&block).into_iter().find(|n| line(&block.join(n).join("dev")).as_deref() == Some(devno))?;
    // Verity on crypt on a partition is three deep; nobody stacks ten.
    for _ in 0..10 {
        match names(&block.join(&name).join("slaves")).into_iter().next() {
            Some(below) => name = below,
            None => break,
        }
    }
    if line(&block.join(&name).join("partition")).is_none() {
        return Some(name);
    }
    names(&block).into_iter().find(|disk| block.join(disk).join(&name).join("partition").exists())
}

/// The entries of a GPT: number, type and GUID. The checksums are left to others: what is
/// found here is compared with what the kernel made of the same table.
fn read_table(mut disk: impl Read + Seek, lba: u64) -> io::Result<Vec<(u32, String, String)>> {
    let bad = || io::Error::new(io::ErrorKind::InvalidData, "not a GPT");
    let mut header = [0; 92];
    disk.seek(SeekFrom::Start(lba))?;
    disk.read_exact(&mut header)?;
    if !header.starts_with(b"EFI PART") {
        return Err(bad());
    }
    let number = |bytes: &[u8], at: usize| {
        bytes.get(at..)?.first_chunk::<4>().map(|c| u64::from(u32::from_le_bytes(*c)))
    };
    let start = header.get(72..).and_then(|h| h.first_chunk::<8>()).map(|c| u64::from_le_bytes(*c));
    let start = start.and_then(|s| s.checked_mul(lba)).ok_or_else(bad)?;
    let count = number(&header, 80).ok_or_else(bad)?;
    let size = number(&header, 84).ok_or_else(bad)?;
    if count > 1024 || !(128..=4096).contains(&size) {
        return Err(bad());
    }
    disk.seek(SeekFrom::Start(start))?;
    let mut table = Vec::new();
    disk.take(count * size).read_to_end(&mut table)?;
    let entries = table.chunks_exact(usize::try_from(size).map_err(|_| bad())?).zip(1..);
    Ok(entries
        .filter_map(|(e, n)| Some((n, guid(e.first_chunk::<16>()?), guid(e.get(16..)?.first_chunk::<16>()?))))
        .filter(|(_, kind, _)| kind != "00000000-0000-0000-0000-000000000000")
        .collect())
}

/// A GUID's text: its first three numbers are little-endian.
fn guid(bytes: &[u8; 16]) -> String {
    let [a, b, c, d, e, f, g, h, rest @ ..] = *bytes;
    let (x, y, z) =
        (u32::from_le_bytes([a, b, c, d]), u16::from_le_bytes([e, f]), u16::from_le_bytes([g, h]));
    let rest: Vec<String> = rest.iter().map(|b| format!("{b:02x}")).collect();
    let (clock, node) = rest.split_at(2);
    format!("{x:08x}-{y:04x}-{z:04x}-{}-{}", clock.concat(), node.concat())
}

fn names(dir: &Path) -> Vec<String> {
    let Ok(found) = fs::read_dir(dir) else { return Vec::new() };
    let mut names: Vec<String> =
        found.filter_map(Result::ok).filter_map(|e| e.file_name().into_string().ok()).collect();
    names.sort();
    names
}

fn line(path: &Path) -> Option<String> {
    Some(fs::read_to_string(path).ok()?.trim().to_owned())
}

#[cfg(test)]
pub(super) mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;

    fn guid_bytes(text: &str) -> Vec<u8> {
        let hex: Vec<u8> = (0..16)
            .map(|i| {
                let digits: String = text.chars().filter(|c| *c != '-').skip(2 * i).take(2).collect();
                u8::from_str_radix(&digits, 16).unwrap()
            })
            .collect();
        [&[hex[3], hex[2], hex[1], hex[0], hex[5], hex[4], hex[7], hex[6]], &hex[8..]].concat()
    }

    /// A disk in a tree: sysfs and the table, with these partitions (type, GUID).
    pub(crate) fn fake_disk(dir: &Path, disk: &str, major: u32, parts: &[(&str, &str)]) {
        let mut bytes = vec![0; 512 + 512];
        bytes[512..520].copy_from_slice(b"EFI PART");
        bytes[512 + 72] = 2;
        bytes[512 + 80] = 8;
        bytes[512 + 84] = 128;
        let block = dir.join("sys/class/block");
        for (i, (kind, uuid)) in parts.iter().enumerate() {
            let name = format!("{disk}{}", i + 1);
            let mut entry = [guid_bytes(kind), guid_bytes(uuid)].concat();
            entry.resize(128, 0);
            bytes.extend(entry);
            for at in [block.join(&name), block.join(disk).join(&name)] {
                fs::create_dir_all(&at).unwrap();
                fs::write(at.join("partition"), format!("{}\n", i + 1)).unwrap();
                fs::write(at.join("dev"), format!("{major}:{}\n", i + 1)).unwrap();
            }
        }
        bytes.resize(512 * 2 + 8 * 128, 0);
        fs::create_dir_all(dir.join("dev")).unwrap();
        fs::write(dir.join("dev").join(disk), bytes).unwrap();
    }

    #[test]
    fn the_type_and_guid_of_every_partition_are_read() {
        let dir = tempfile::tempdir().unwrap();
        let uuid = "01234567-89ab-cdef-0123-456789abcdef";
        fake_disk(dir.path(), "sda", 8, &[(ESP_TYPE, uuid), (XBOOTLDR_TYPE, ESP_TYPE)]);
        let parts = list(&Root::at(dir.path()));
        assert_eq!(parts.len(), 2);
        assert_eq!((parts[0].kind.as_str(), parts[0].uuid.as_str()), (ESP_TYPE, uuid));
        assert_eq!((parts[1].name.as_str(), parts[1].devno.as_str()), ("sda2", "8:2"));
    }

    #[test]
    fn the_disk_below_device_mapper_is_found() {
        let dir = tempfile::tempdir().unwrap();
        fake_disk(dir.path(), "sda", 8, &[(ESP_TYPE, ESP_TYPE), (XBOOTLDR_TYPE, XBOOTLDR_TYPE)]);
        let dm = dir.path().join("sys/class/block/dm-0");
        fs::create_dir_all(dm.join("slaves/sda2")).unwrap();
        fs::write(dm.join("dev"), "253:0\n").unwrap();
        let root = Root::at(dir.path());
        assert_eq!(disk_of(&root, "253:0").as_deref(), Some("sda"));
        assert_eq!(disk_of(&root, "8:1").as_deref(), Some("sda"));
        assert_eq!(disk_of(&root, "9:9"), None);
    }

    #[test]
    fn a_damaged_table_is_an_error_and_no_panic() {
        assert!(read_table(io::Cursor::new(vec![0; 2048]), 512).is_err());
        let mut bytes = vec![0xff; 2048];
        bytes[512..520].copy_from_slice(b"EFI PART");
        assert!(read_table(io::Cursor::new(bytes), 512).is_err());
        assert!(read_table(io::Cursor::new(vec![0; 10]), 512).is_err());
    }
}

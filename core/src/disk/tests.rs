//! Disks as sysfs, udev and their first sectors show them, for the tests of this floor and of those above.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::string_slice)]

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use crate::root::Root;

/// A tree with disks, as a live system has them.
pub(crate) struct FakeDisks(tempfile::TempDir);

impl FakeDisks {
    pub(crate) fn new() -> Self {
        let disks = Self(tempfile::tempdir().unwrap());
        for dir in ["sys/class/block", "sys/dev/block", "dev/disk", "proc", "run/udev/data"] {
            fs::create_dir_all(disks.0.path().join(dir)).unwrap();
        }
        disks
    }

    pub(crate) fn root(&self) -> Root {
        Root::at(self.0.path())
    }

    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.0.path().join(path)
    }

    pub(crate) fn cmdline(self, text: &str) -> Self {
        fs::write(self.path("proc/cmdline"), text).unwrap();
        self
    }

    pub(crate) fn devno(disk: &str, number: u32) -> String {
        format!("8:{}", u32::from(disk.bytes().last().unwrap()) * 16 + number)
    }

    /// A partition that the kernel and udev know, with a label and a type.
    pub(crate) fn partition(self, disk: &str, number: u32, label: &str, kind: &str) -> Self {
        let (name, devno) = (format!("{disk}{number}"), Self::devno(disk, number));
        let (major, minor) = devno.split_once(':').unwrap();
        let dir = self.path(&format!("sys/devices/{disk}/{name}"));
        fs::create_dir_all(&dir).unwrap();
        let label_line = if label.is_empty() { String::new() } else { format!("PARTNAME={label}\n") };
        let uevent = format!("MAJOR={major}\nMINOR={minor}\nDEVNAME={name}\nPARTN={number}\n{label_line}");
        fs::write(dir.join("uevent"), uevent).unwrap();
        fs::write(dir.join("dev"), format!("{devno}\n")).unwrap();
        replace_link(&format!("../../devices/{disk}/{name}"), &self.path("sys/class/block").join(&name));
        let disk_uevent = "MAJOR=8\nMINOR=0\nDEVNAME=disk\nDEVTYPE=disk\n";
        fs::write(self.path(&format!("sys/devices/{disk}/uevent")), disk_uevent).unwrap();
        replace_link(&format!("../../devices/{disk}"), &self.path("sys/class/block").join(disk));
        fs::write(self.path("dev").join(&name), "").unwrap();
        let udev = format!("E:ID_PART_ENTRY_TYPE={kind}\n");
        fs::write(self.path(&format!("run/udev/data/b{devno}")), udev).unwrap();
        // The last one to be found has the link, as with udev.
        for (dir, link) in [("by-partlabel", label), ("by-partuuid", &format!("{disk}-{number}"))] {
            let dir = self.path("dev/disk").join(dir);
            fs::create_dir_all(&dir).unwrap();
            if !link.is_empty() {
                replace_link(&format!("../../{name}"), &dir.join(link));
            }
        }
        self
    }

    /// A disk with these partitions in its table, by type and GUID.
    pub(crate) fn disk(self, disk: &str, partitions: &[(&str, &str)]) -> Self {
        let numbered: Vec<_> = (1..).zip(partitions).map(|(n, (kind, uuid))| (n, *kind, *uuid)).collect();
        fs::write(self.path("dev").join(disk), table(&numbered)).unwrap();
        numbered.iter().fold(self, |disks, (number, kind, _)| disks.partition(disk, *number, "", kind))
    }

    /// An array or a mapping that holds a partition.
    pub(crate) fn held(self, disk: &str, number: u32, holder: &str, devno: &str) -> Self {
        let of = self.path(&format!("sys/dev/block/{}/holders/{holder}", Self::devno(disk, number)));
        fs::create_dir_all(&of).unwrap();
        fs::write(of.join("dev"), format!("{devno}\n")).unwrap();
        self
    }

    /// A device-mapper device `dm-N` with this table, over these devices, as sysfs and `dmsetup table` show it.
    pub(crate) fn mapping(self, number: u32, name: &str, table: &str, over: &[&str]) -> Self {
        let (kernel_name, devno) = (format!("dm-{number}"), format!("253:{number}"));
        let dir = self.path(&format!("sys/devices/virtual/block/{kernel_name}"));
        for folder in ["dm", "slaves"] {
            fs::create_dir_all(dir.join(folder)).unwrap();
        }
        fs::write(dir.join("dm/name"), format!("{name}\n")).unwrap();
        fs::write(dir.join("dev"), format!("{devno}\n")).unwrap();
        let class = self.path("sys/class/block");
        for below in over {
            symlink(class.join(below).canonicalize().unwrap(), dir.join("slaves").join(below)).unwrap();
        }
        replace_link(&format!("../../devices/virtual/block/{kernel_name}"), &class.join(&kernel_name));
        let number_link = self.path("sys/dev/block").join(&devno);
        replace_link(&format!("../../devices/virtual/block/{kernel_name}"), &number_link);
        let control = self.path("dev/mapper/control");
        fs::create_dir_all(control.parent().unwrap()).unwrap();
        let before = fs::read_to_string(&control).unwrap_or_default();
        fs::write(&control, format!("{before}{name}: 0 8 {table}\n")).unwrap();
        fs::write(self.path("dev").join(kernel_name), vec![0; 1 << 20]).unwrap();
        self
    }

    /// A device-mapper device on top of a partition.
    pub(crate) fn mapped(self, devno: &str, disk: &str, number: u32) -> Self {
        let slaves = self.path(&format!("sys/dev/block/{devno}/slaves"));
        fs::create_dir_all(&slaves).unwrap();
        let name = format!("{disk}{number}");
        symlink(self.path(&format!("sys/devices/{disk}/{name}")), slaves.join(name)).unwrap();
        self
    }
}

fn replace_link(target: &str, link: &Path) {
    if link.symlink_metadata().is_ok() {
        fs::remove_file(link).unwrap();
    }
    symlink(target, link).unwrap();
}

/// A partition table of eight entries and the sectors before it, with these in use: number, type, GUID.
pub(crate) fn table(partitions: &[(u32, &str, &str)]) -> Vec<u8> {
    const ENTRIES: usize = 1024;
    let mut bytes = vec![0; ENTRIES + 8 * 128];
    bytes[512..520].copy_from_slice(b"EFI PART");
    bytes[512 + 72] = 2;
    bytes[512 + 80] = 8;
    bytes[512 + 84] = 128;
    for (number, kind, uuid) in partitions {
        let at = ENTRIES + (usize::try_from(*number).unwrap() - 1) * 128;
        bytes[at..at + 16].copy_from_slice(&guid(kind));
        bytes[at + 16..at + 32].copy_from_slice(&guid(uuid));
    }
    bytes
}

fn guid(text: &str) -> [u8; 16] {
    let digits: String = text.chars().filter(|c| *c != '-').collect();
    let byte = |at: usize| u8::from_str_radix(&digits[2 * at..2 * at + 2], 16).unwrap();
    [3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15].map(byte)
}

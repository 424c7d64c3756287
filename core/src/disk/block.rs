//! Block devices as sysfs shows them. Nothing here needs udev, which in the initramfs may not be done yet.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use crate::error::{OrError, Result};
use crate::root::Root;

const CLASS: &str = "/sys/class/block";
const BY_NUMBER: &str = "/sys/dev/block";

/// How many device-mapper layers may lie between a mount and its partition: verity on crypt on a
/// partition has two.
const MAX_LAYERS: usize = 8;

/// Bytes in the unit in which the kernel counts sizes, whatever the disk's own sector.
const KERNEL_SECTOR: u64 = 512;

/// A partition that the kernel knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partition {
    /// The kernel's name of the disk it is on: `sda`.
    pub disk: String,
    /// Its number in the partition table, from 1; 0 for a whole device.
    pub number: u32,
    /// `MAJOR:MINOR`, as in mountinfo.
    pub devno: String,
    /// The tree's own path: `/dev/sda2`.
    pub node: String,
    /// The label that it had when the kernel read the table; empty if it had none.
    pub label: String,
}

/// The partitions that the kernel knows, by disk and number; those that disappear meanwhile are left out
/// (Documentation/ABI/stable/sysfs-block; `part_uevent` in block/partitions/core.c).
#[must_use]
pub fn partitions(root: &Root) -> Vec<Partition> {
    let entries = fs::read_dir(root.path(CLASS)).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let mut all: Vec<Partition> = names.filter_map(|name| partition(root, &name)).collect();
    // sdb before sdaa, sda9 before sda10.
    all.sort_unstable_by(|x, y| (x.disk.len(), &x.disk, x.number).cmp(&(y.disk.len(), &y.disk, y.number)));
    all
}

fn partition(root: &Root, name: &str) -> Option<Partition> {
    let dir = root.resolve(format!("{CLASS}/{name}")).ok()?;
    let uevent = fs::read_to_string(dir.join("uevent")).ok()?;
    let value = |key: &str| uevent.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
    Some(Partition {
        // A whole disk has no such line.
        number: value("PARTN")?.parse().ok()?,
        disk: dir.parent().and_then(Path::file_name)?.to_string_lossy().into_owned(),
        devno: format!("{}:{}", value("MAJOR")?, value("MINOR")?),
        node: format!("/dev/{}", value("DEVNAME")?),
        label: value("PARTNAME").unwrap_or_default().to_owned(),
    })
}

/// A device and all that it is built on, as `MAJOR:MINOR`.
#[must_use]
pub fn below(root: &Root, devno: &str) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    let mut layer = vec![devno.to_owned()];
    for _ in 0..MAX_LAYERS {
        let mut next = Vec::new();
        for device in layer {
            // A partition has no such directory; that ends the descent.
            let slaves = fs::read_dir(root.path(format!("{BY_NUMBER}/{device}/slaves")));
            for slave in slaves.into_iter().flatten().flatten() {
                if let Ok(number) = fs::read_to_string(slave.path().join("dev")) {
                    next.push(number.trim().to_owned());
                }
            }
            all.insert(device);
        }
        layer = next;
    }
    all
}

/// The devices that are built on this one: arrays and mappings (Documentation/ABI/stable/sysfs-block).
#[must_use]
pub fn holders(root: &Root, devno: &str) -> Vec<Partition> {
    let holders = fs::read_dir(root.path(format!("{BY_NUMBER}/{devno}/holders")));
    let holders = holders.into_iter().flatten().flatten();
    let mut all: Vec<Partition> = holders
        .filter_map(|holder| {
            let name = holder.file_name().into_string().ok()?;
            let devno = fs::read_to_string(holder.path().join("dev")).ok()?.trim().to_owned();
            let node = format!("/dev/{}", name.replace('!', "/"));
            Some(Partition { disk: name, number: 0, devno, node, label: String::new() })
        })
        .collect();
    all.sort_unstable_by(|x, y| x.node.cmp(&y.node));
    all
}

/// The device node of a disk; sysfs has `!` where the name of a device has `/`.
#[must_use]
pub fn node_of_disk(root: &Root, disk: &str) -> PathBuf {
    root.path("/dev").join(disk.replace('!', "/"))
}

/// Bytes in a logical block of a disk.
#[must_use]
pub fn logical_block_size(root: &Root, disk: &str) -> u64 {
    let path = root.path(format!("{CLASS}/{disk}/queue/logical_block_size"));
    fs::read_to_string(path).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(512)
}

/// The number of a device as `MAJOR:MINOR`, out of `st_dev` or `st_rdev`.
#[must_use]
pub fn devno(number: u64) -> String {
    format!("{}:{}", rustix::fs::major(number), rustix::fs::minor(number))
}

/// The number of a block device; `None` for a plain file.
#[must_use]
pub fn devno_of(device: &Path) -> Option<String> {
    let meta = fs::metadata(device).ok()?;
    meta.file_type().is_block_device().then(|| devno(meta.rdev()))
}

/// The size of a block device or of a plain file, in bytes.
///
/// # Errors
/// [`crate::error::Error::Failed`] if it does not exist, or sysfs does not tell.
pub fn size_of(root: &Root, device: &Path) -> Result<u64> {
    let meta = fs::metadata(device).or_failed(|| format!("{}: cannot read", device.display()))?;
    if !meta.file_type().is_block_device() {
        return Ok(meta.len());
    }
    let path = root.path(format!("{BY_NUMBER}/{}/size", devno(meta.rdev())));
    let text = fs::read_to_string(&path).or_failed(|| format!("{}: cannot read", path.display()))?;
    let sectors: u64 = text.trim().parse().or_failed(|| format!("{}: not a number", path.display()))?;
    Ok(sectors.saturating_mul(KERNEL_SECTOR))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::disk::tests::FakeDisks;

    #[test]
    fn partitions_are_listed_by_disk_and_number_and_whole_disks_are_not() {
        let disks = FakeDisks::new();
        let disks =
            disks.partition("sdb", 1, "x", "").partition("sda", 10, "y", "").partition("sda", 9, "", "");
        let found = partitions(&disks.root());
        let nodes: Vec<_> = found.iter().map(|p| (p.node.as_str(), p.label.as_str())).collect();
        assert_eq!(nodes, [("/dev/sda9", ""), ("/dev/sda10", "y"), ("/dev/sdb1", "x")]);
        assert_eq!(found.first().map(|p| (p.disk.as_str(), p.number)), Some(("sda", 9)));
    }

    #[test]
    fn the_partition_below_a_verity_mapping_is_found() {
        let disks = FakeDisks::new().partition("sda", 2, "", "").mapped("254:1", "sda", 2);
        let below = below(&disks.root(), "254:1");
        assert_eq!(below, BTreeSet::from(["254:1".to_owned(), FakeDisks::devno("sda", 2)]));
    }
}

//! The labelled partitions of the machine, and the two among them that are the slots.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use crate::disk::root_arg::{RootArg, udev_decoded};
use crate::disk::running::{device_at, partitions_below};
use crate::disk::slot::{links, node_of};
use crate::error::{Error, OrError, Result};
use crate::root::Root;

/// Labels that are tried, in this order, where the configuration names none:
/// Abide's own, those of Intel's Edge Microvisor Toolkit, and a common habit.
const KNOWN_LABELS: [(&str, &str); 3] =
    [("rootfs_a", "rootfs_b"), ("rootfs", "rootfs_b"), ("root-a", "root-b")];

const BY_LABEL: &str = "/dev/disk/by-partlabel";

/// Types of root partitions (Discoverable Partitions Specification), by architecture.
pub const ROOT_TYPES: [(&str, &str); 5] = [
    ("4f68bce3-e8cd-4db1-96e7-fbcaf984b709", "x86-64"),
    ("44479540-f297-41b2-9af7-d131d5f0458a", "x86"),
    ("b921b045-1df0-41c3-af44-4c6f280d3fae", "arm64"),
    ("69dad710-2ce4-4e3c-b16c-21a1d49abed3", "arm"),
    ("72ec70a6-cf74-40e6-bd49-4bda08e8f224", "riscv64"),
];

/// A partition that has a label.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Partition {
    /// Its label in the partition table.
    pub label: String,
    /// The tree's own path: `/dev/sda2`.
    pub node: String,
    /// The kernel's name of the disk it is on, where sysfs tells.
    disk: Option<String>,
    /// Its type's GUID, in lower case, where udev tells.
    kind: Option<String>,
}

/// The two slots: those that the configuration names, else those that can be told by their labels.
///
/// Labels alone are not enough on a live system: a USB stick with an installer has the same ones.
/// Only the disk that the running system is on counts, where that is known.
pub fn find(root: &Root, labels: Option<(&str, &str)>) -> Result<(Partition, Partition)> {
    let found = list(root)?;
    let own = own_disk(root, &found)?;
    let near: Vec<Partition> = match &own {
        Some(disk) => found.iter().filter(|p| p.disk.as_ref() == Some(disk)).cloned().collect(),
        None => found.clone(),
    };
    match labels {
        Some((a, b)) => Ok((named(root, &near, a)?, named(root, &near, b)?)),
        None if own.is_some() => choose(&near),
        None => choose_disk(&found),
    }
}

/// Every partition that has a label, by device, so that the order is stable: from
/// the links that udev makes, and from sysfs where several have one label, or there is no udev.
fn list(root: &Root) -> Result<Vec<Partition>> {
    let mut all: BTreeMap<String, Partition> = BTreeMap::new();
    for (name, node) in links(root, BY_LABEL)? {
        let partition = Partition { label: udev_decoded(&name), node: node.clone(), ..Partition::default() };
        all.insert(node, partition);
    }
    for partition in list_sysfs(root)? {
        let entry = all.entry(partition.node.clone()).or_default();
        let label = std::mem::take(&mut entry.label);
        // After a change of the label udev knows the new one, and the kernel only after a reboot.
        *entry =
            Partition { label: if label.is_empty() { partition.label.clone() } else { label }, ..partition };
    }
    let mut all: Vec<Partition> = all.into_values().filter(|p| !p.label.is_empty()).collect();
    // sda9 before sda10.
    all.sort_by(|x, y| (x.node.len(), &x.node).cmp(&(y.node.len(), &y.node)));
    Ok(all)
}

/// The partitions that the kernel knows, with what it was told when it found them
/// (Documentation/ABI/testing/sysfs-block; `PARTNAME` of the uevent).
fn list_sysfs(root: &Root) -> Result<Vec<Partition>> {
    const BLOCK: &str = "/sys/class/block";
    let Ok(entries) = fs::read_dir(root.path(BLOCK)) else { return Ok(Vec::new()) };
    let mut all = Vec::new();
    for entry in entries {
        let entry = entry.or_failed(|| format!("{BLOCK}: cannot read"))?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        let folder = root.resolve(format!("{BLOCK}/{name}"))?;
        if !folder.join("partition").exists() {
            continue;
        }
        // A partition that goes in this very moment is none.
        let Ok(uevent) = fs::read_to_string(folder.join("uevent")) else { continue };
        let value = |key: &str| {
            uevent.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('=')).map(str::to_owned)
        };
        let disk = folder.parent().and_then(Path::file_name).map(|d| d.to_string_lossy().into_owned());
        let number = format!("{}:{}", value("MAJOR").unwrap_or_default(), value("MINOR").unwrap_or_default());
        all.push(Partition {
            label: value("PARTNAME").unwrap_or_default(),
            // sysfs has '!' where a device's name has '/'.
            node: format!("/dev/{}", value("DEVNAME").unwrap_or(name).replace('!', "/")),
            disk,
            kind: udev_type(root, &number),
        });
    }
    Ok(all)
}

/// The type of a partition, from udev's database.
fn udev_type(root: &Root, number: &str) -> Option<String> {
    let text = fs::read_to_string(root.path(format!("/run/udev/data/b{number}"))).ok()?;
    text.lines().find_map(|line| line.strip_prefix("E:ID_PART_ENTRY_TYPE=")).map(str::to_ascii_lowercase)
}

/// The disk that the running system is on: below what is mounted as the root, here or in the initramfs,
/// else the one that the kernel's command line names.
fn own_disk(root: &Root, found: &[Partition]) -> Result<Option<String>> {
    let disk_of = |node: &str| found.iter().find(|p| p.node == node).and_then(|p| p.disk.clone());
    if root.is_live() {
        let mounts =
            fs::read_to_string("/proc/self/mountinfo").or_failed(|| "/proc/self/mountinfo: cannot read")?;
        for mount_point in ["/sysroot", "/"] {
            let Some(device) = device_at(&mounts, mount_point) else { continue };
            let below: BTreeSet<String> = partitions_below(root, device)
                .iter()
                .filter_map(|number| node_of_number(root, number))
                .collect();
            if let Some(disk) = below.iter().find_map(|node| disk_of(node)) {
                return Ok(Some(disk));
            }
        }
    }
    let cmdline = fs::read_to_string(root.path("/proc/cmdline")).unwrap_or_default();
    let dir = |dir: &str, name: &str| format!("/dev/disk/{dir}/{name}");
    let link = match RootArg::parse(&cmdline) {
        Some(RootArg::PartUuid(uuid)) => dir("by-partuuid", &uuid),
        Some(RootArg::FsUuid(uuid)) => dir("by-uuid", &uuid),
        Some(RootArg::Node(node)) => node,
        _ => return Ok(None),
    };
    Ok(disk_of(&node_of(root, &link)?))
}

fn node_of_number(root: &Root, number: &str) -> Option<String> {
    let uevent = fs::read_to_string(root.path(format!("/sys/dev/block/{number}/uevent"))).ok()?;
    uevent.lines().find_map(|line| line.strip_prefix("DEVNAME=")).map(|name| format!("/dev/{name}"))
}

/// The partition that the configuration means.
fn named(root: &Root, found: &[Partition], name: &str) -> Result<Partition> {
    let node = if name.starts_with('/') { Some(node_of(root, name)?) } else { None };
    let wanted = |p: &&Partition| node.as_ref().map_or(p.label == name, |n| p.node == *n);
    if let Some(partition) = found.iter().find(wanted) {
        return Ok(partition.clone());
    }
    match node {
        Some(node) if root.path(&node).exists() => Ok(Partition { node, ..Partition::default() }),
        _ => Err(Error::Failed(format!(
            "the configuration names the slot '{name}', but there is no such partition in {}; correct [slots]",
            root.path(BY_LABEL).display()
        ))),
    }
}

/// Types of the dm-verity hash partitions beside a root, and of those for their signatures (Discoverable
/// Partitions Specification), by architecture.
pub const VERITY_TYPES: [(&str, &str, &str); 3] = [
    ("2c7357ed-ebd2-46d9-aec1-23d437ec2bf5", "41092b05-9fc8-4523-994f-2def0408b176", "x86-64"),
    ("df3300ce-d69f-4c92-978c-9bfb0f38d820", "6db69de6-29f4-4758-a7a5-962190f00ce3", "arm64"),
    ("b6ed5582-440b-4209-b8da-5ff7c419ea3d", "efe0f087-ea8d-4469-821a-4c2a96a8386a", "riscv64"),
];

/// The partitions beside a root that belong to the same slot.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Beside {
    /// dm-verity hashes.
    pub verity: Option<Partition>,
    /// The signature of their root hash.
    pub verity_sig: Option<Partition>,
}

/// What belongs to the roots `a` and `b`: partitions on the same disk that are labelled after them
/// (`rootfs_a_verity`, `root-a-verity-sig`), else, where there are just two of that type, the first
/// and the second.
pub fn beside(root: &Root, a: &Partition, b: &Partition) -> Result<(Beside, Beside)> {
    let found: Vec<Partition> = list(root)?.into_iter().filter(|p| p.disk == a.disk).collect();
    let pair = |ends: [&str; 2], is_type: &dyn Fn(&str) -> bool| {
        let named = |slot: &Partition| {
            let is = |p: &&Partition| ends.iter().any(|end| p.label == format!("{}{end}", slot.label));
            found.iter().find(is).cloned()
        };
        let typed: Vec<&Partition> =
            found.iter().filter(|p| p.kind.as_deref().is_some_and(is_type)).collect();
        let other = |taken: &Partition| typed.iter().find(|p| p.node != taken.node).map(|p| (*p).clone());
        match (named(a), named(b), typed.as_slice()) {
            (None, None, [first, second]) => (Some((*first).clone()), Some((*second).clone())),
            (Some(a), None, [_, _]) => (Some(a.clone()), other(&a)),
            (None, Some(b), [_, _]) => (other(&b), Some(b)),
            (a, b, _) => (a, b),
        }
    };
    let verity = pair(["_verity", "-verity"], &|kind| VERITY_TYPES.iter().any(|(hash, _, _)| *hash == kind));
    let sig =
        pair(["_verity_sig", "-verity-sig"], &|kind| VERITY_TYPES.iter().any(|(_, sig, _)| *sig == kind));
    Ok((Beside { verity: verity.0, verity_sig: sig.0 }, Beside { verity: verity.1, verity_sig: sig.1 }))
}

/// The slots of the only disk that has them.
fn choose_disk(found: &[Partition]) -> Result<(Partition, Partition)> {
    let mut disks: BTreeMap<&Option<String>, Vec<Partition>> = BTreeMap::new();
    for partition in found {
        disks.entry(&partition.disk).or_default().push(partition.clone());
    }
    let mut with_slots: Vec<_> = disks.values().filter_map(|on_disk| choose(on_disk).ok()).collect();
    match (with_slots.pop(), with_slots.pop()) {
        (Some(slots), None) => Ok(slots),
        (Some((a, _)), Some((other, _))) => Err(Error::Failed(format!(
            "two disks have partitions labelled as slots ({} and {}), and it is not clear which one this system \
             runs from; remove one, or name the slots by device in [slots] of the configuration",
            other.node, a.node
        ))),
        (None, _) => choose(found),
    }
}

/// Picks the two slots out of the labelled partitions of a disk.
fn choose(found: &[Partition]) -> Result<(Partition, Partition)> {
    let by_label = |label: &str| found.iter().find(|p| p.label == label);
    for (a, b) in KNOWN_LABELS {
        if let (Some(a), Some(b)) = (by_label(a), by_label(b)) {
            return Ok((a.clone(), b.clone()));
        }
    }
    let can_be_root =
        |p: &&Partition| p.kind.as_ref().is_none_or(|kind| ROOT_TYPES.iter().any(|(guid, _)| guid == kind));
    let versioned: Vec<&Partition> =
        found.iter().filter(|p| is_sysupdate_root(&p.label)).filter(can_be_root).collect();
    match versioned.as_slice() {
        [a, b] => Ok(((*a).clone(), (*b).clone())),
        [] | [_] => Err(Error::Failed(
            "found no two slots: no partitions are labelled rootfs_a and rootfs_b, rootfs and rootfs_b, \
             root-a and root-b, or as systemd-sysupdate labels them; label them, or name them in [slots] \
             of the configuration"
                .into(),
        )),
        _ => Err(Error::Failed(format!(
            "found more than two partitions labelled as systemd-sysupdate labels slots ({}); name the two \
             in [slots] of the configuration",
            versioned.iter().map(|p| p.label.as_str()).collect::<Vec<_>>().join(", ")
        ))),
    }
}

/// Whether systemd-sysupdate would label the root of a slot so: `_empty`, or `<image>_<version>`
/// with a version that starts with a digit; not the verity partitions beside it.
#[must_use]
pub fn is_sysupdate_root(label: &str) -> bool {
    if label == "_empty" {
        return true;
    }
    match label.rsplit_once('_') {
        Some((image, version)) => {
            !image.is_empty()
                && version.starts_with(|c: char| c.is_ascii_digit())
                && !image.ends_with("verity")
                && !image.ends_with("verity-sig")
        }
        None => false,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;
    use std::os::unix::fs::symlink;

    /// A tree with sysfs, as a live system has it.
    struct Machine(tempfile::TempDir);

    impl Machine {
        fn new(cmdline: &str) -> Self {
            let dir = tempfile::tempdir().unwrap();
            for folder in
                ["sys/class/block", "dev/disk/by-partlabel", "dev/disk/by-partuuid", "proc", "run/udev/data"]
            {
                fs::create_dir_all(dir.path().join(folder)).unwrap();
            }
            fs::write(dir.path().join("proc/cmdline"), cmdline).unwrap();
            Self(dir)
        }

        fn partition(self, disk: &str, number: u32, label: &str, kind: &str) -> Self {
            let (root, name) = (self.0.path(), format!("{disk}{number}"));
            let folder = root.join(format!("sys/devices/{disk}/{name}"));
            fs::create_dir_all(&folder).unwrap();
            fs::write(folder.join("partition"), number.to_string()).unwrap();
            let minor = u32::from(disk.bytes().last().unwrap()) * 16 + number;
            let uevent =
                format!("MAJOR=8\nMINOR={minor}\nDEVNAME={name}\nPARTN={number}\nPARTNAME={label}\n");
            fs::write(folder.join("uevent"), uevent).unwrap();
            symlink(format!("../../devices/{disk}/{name}"), root.join("sys/class/block").join(&name))
                .unwrap();
            fs::write(root.join("dev").join(&name), "").unwrap();
            fs::write(
                root.join(format!("run/udev/data/b8:{minor}")),
                format!("E:ID_PART_ENTRY_TYPE={kind}\n"),
            )
            .unwrap();
            let link = |dir: &str, name: &str| {
                let link = root.join("dev/disk").join(dir).join(name);
                // The last one to be found has the link, as with udev.
                if link.symlink_metadata().is_ok() {
                    fs::remove_file(&link).unwrap();
                }
                symlink(format!("../../{disk}{number}"), link).unwrap();
            };
            link("by-partlabel", label);
            link("by-partuuid", &format!("{disk}-{number}"));
            self
        }

        fn find(&self) -> std::result::Result<(String, String), String> {
            find(&Root::at(self.0.path()), None).map(|(a, b)| (a.node, b.node)).map_err(|e| e.to_string())
        }
    }

    fn nodes(a: &str, b: &str) -> std::result::Result<(String, String), String> {
        Ok((a.into(), b.into()))
    }

    const LINUX: &str = "0fc63daf-8483-4772-8e79-3d69d8477de4";

    #[test]
    fn the_slots_are_on_the_disk_that_runs_and_not_on_a_stick_with_the_same_labels() {
        let two = |cmdline: &str| {
            Machine::new(cmdline)
                .partition("sda", 2, "rootfs_a", LINUX)
                .partition("sda", 3, "rootfs_b", LINUX)
                .partition("sdb", 2, "rootfs_a", LINUX)
                .partition("sdb", 3, "rootfs_b", LINUX)
        };
        assert_eq!(two("root=PARTUUID=sda-2").find(), nodes("/dev/sda2", "/dev/sda3"));
        assert_eq!(two("root=/dev/sdb3").find(), nodes("/dev/sdb2", "/dev/sdb3"));
        assert!(two("root=tmpfs").find().unwrap_err().contains("two disks"));
    }

    #[test]
    fn a_stick_with_one_of_the_labels_is_not_taken_for_a_slot() {
        let machine = Machine::new("quiet")
            .partition("sda", 2, "rootfs", LINUX)
            .partition("sda", 3, "rootfs_b", LINUX)
            .partition("sdb", 2, "rootfs", LINUX);
        assert_eq!(machine.find(), nodes("/dev/sda2", "/dev/sda3"));
    }

    #[test]
    fn only_partitions_of_a_roots_type_are_slots_of_sysupdate() {
        let root = ROOT_TYPES.first().unwrap().0;
        let machine = Machine::new("root=PARTUUID=sda-2")
            .partition("sda", 2, "edge_1.0", root)
            .partition("sda", 3, "_empty", root)
            .partition("sda", 4, "data_1", LINUX);
        assert_eq!(machine.find(), nodes("/dev/sda2", "/dev/sda3"));
    }

    #[test]
    fn two_empty_slots_share_a_link_and_are_told_apart_all_the_same() {
        let root = ROOT_TYPES.first().unwrap().0;
        let machine = Machine::new("root=tmpfs")
            .partition("sda", 2, "_empty", root)
            .partition("sda", 3, "_empty", root);
        assert_eq!(machine.find(), nodes("/dev/sda2", "/dev/sda3"));
    }

    #[test]
    fn verity_partitions_belong_to_the_root_that_they_are_named_after_or_else_go_by_order() {
        let root = ROOT_TYPES.first().unwrap().0;
        let (hash, sig, _) = *VERITY_TYPES.first().unwrap();
        let nodes = |labels: [&str; 6]| {
            let machine = Machine::new("root=PARTUUID=sda-2")
                .partition("sda", 2, labels[0], root)
                .partition("sda", 3, labels[1], root)
                .partition("sda", 4, labels[2], hash)
                .partition("sda", 5, labels[3], hash)
                .partition("sda", 6, labels[4], sig)
                .partition("sda", 7, labels[5], sig);
            let tree = Root::at(machine.0.path());
            let (a, b) = find(&tree, None).unwrap();
            let (a, b) = beside(&tree, &a, &b).unwrap();
            [a.verity, b.verity, a.verity_sig, b.verity_sig].map(|p| p.unwrap().node.replace("/dev/sda", ""))
        };
        let order = ["4", "5", "6", "7"];
        assert_eq!(nodes(["root-a", "root-b", "root-a-verity", "root-b-verity", "x", "y"]), order);
        assert_eq!(
            nodes(["root-a", "root-b", "root-b-verity", "root-a-verity", "x", "y"]),
            ["5", "4", "6", "7"]
        );
        assert_eq!(nodes(["e_1", "_empty", "_empty", "_empty", "_empty", "_empty"]), order);
        assert_eq!(
            nodes(["e_1", "_empty", "_empty", "e_1_verity", "e_1_verity_sig", "_empty"]),
            ["5", "4", "6", "7"]
        );
    }

    #[test]
    fn a_new_label_counts_before_the_kernel_knows_it() {
        let machine = Machine::new("root=PARTUUID=sda-2")
            .partition("sda", 2, "edge_1.0", LINUX)
            .partition("sda", 3, "old", LINUX);
        let labels = machine.0.path().join("dev/disk/by-partlabel");
        fs::rename(labels.join("old"), labels.join("edge_2.0")).unwrap();
        let found = list(&Root::at(machine.0.path())).unwrap();
        assert_eq!(found.iter().map(|p| p.label.as_str()).collect::<Vec<_>>(), ["edge_1.0", "edge_2.0"]);
    }
}

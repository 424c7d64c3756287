//! The labelled partitions of the machine, and the two among them that are the slots.

use std::collections::BTreeMap;
use std::fs;

use crate::arch;
use crate::disk::block;
use crate::disk::block::Partition;
use crate::disk::links::{links, node_of, udev_decoded};
use crate::disk::mapping::{mappings, root_mapping};
use crate::disk::root_arg::RootArg;
use crate::error::{Error, Result};
use crate::mounts;
use crate::root::Root;

/// Labels that are tried, in this order, where the configuration names none:
/// Abide's own, those of Intel's Edge Microvisor Toolkit, and a common convention.
const KNOWN_LABELS: [(&str, &str); 3] =
    [("rootfs_a", "rootfs_b"), ("rootfs", "rootfs_b"), ("root-a", "root-b")];

const BY_LABEL: &str = "/dev/disk/by-partlabel";

/// A partition that has a label.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LabelledPartition {
    /// Its label in the partition table.
    pub label: String,
    /// The tree's own path: `/dev/sda2`.
    pub node: String,
    /// `MAJOR:MINOR`, if sysfs shows it.
    pub devno: Option<String>,
    /// The kernel's name of its disk, if sysfs shows it.
    disk: Option<String>,
    /// The GUID of its type, in lower case, if udev knows it.
    kind: Option<String>,
}

/// The two slots: those that the configuration names, else those that are recognised by their labels.
///
/// Labels alone are not enough on a live system: a USB stick with an installer has the same ones.
/// Where the disk of the running system is known, only that disk counts.
pub fn find(root: &Root, labels: Option<(&str, &str)>) -> Result<(LabelledPartition, LabelledPartition)> {
    let kernel = block::partitions(root);
    let found = list(root, &kernel)?;
    let own = own_disk(root, &found, &kernel)?;
    let near: Vec<LabelledPartition> = match &own {
        Some(disk) => found.iter().filter(|p| p.disk.as_ref() == Some(disk)).cloned().collect(),
        None => found.clone(),
    };
    match labels {
        Some((a, b)) => Ok((named(root, &near, a)?, named(root, &near, b)?)),
        None if own.is_some() => choose(&near),
        None => choose_disk(&found),
    }
}

/// Every partition that has a label, in a stable order: from the links that udev makes, and from the kernel where
/// several have one label, or there is no udev.
fn list(root: &Root, kernel: &[Partition]) -> Result<Vec<LabelledPartition>> {
    let mut all: BTreeMap<String, LabelledPartition> = BTreeMap::new();
    for (name, node) in links(root, BY_LABEL)? {
        let label = udev_decoded(&name);
        all.insert(node.clone(), LabelledPartition { label, node, ..LabelledPartition::default() });
    }
    for partition in kernel {
        let entry = all.entry(partition.node.clone()).or_default();
        entry.node.clone_from(&partition.node);
        entry.devno = Some(partition.devno.clone());
        entry.disk = Some(partition.disk.clone());
        entry.kind = udev_type(root, &partition.devno);
        // After a change of the label udev knows the new one, and the kernel only after a reboot.
        if entry.label.is_empty() {
            entry.label.clone_from(&partition.label);
        }
    }
    let mut all: Vec<LabelledPartition> = all.into_values().filter(|p| !p.label.is_empty()).collect();
    // sda9 before sda10.
    all.sort_unstable_by(|x, y| (x.node.len(), &x.node).cmp(&(y.node.len(), &y.node)));
    Ok(all)
}

/// The type of a partition, from udev's database.
fn udev_type(root: &Root, number: &str) -> Option<String> {
    let text = fs::read_to_string(root.path(format!("/run/udev/data/b{number}"))).ok()?;
    text.lines().find_map(|line| line.strip_prefix("E:ID_PART_ENTRY_TYPE=")).map(str::to_ascii_lowercase)
}

/// The disk that the running system is on: below what is mounted as the root, here or in the initramfs,
/// else the one that the kernel's command line names.
fn own_disk(root: &Root, found: &[LabelledPartition], kernel: &[Partition]) -> Result<Option<String>> {
    let disk_of = |node: &str| found.iter().find(|p| p.node == node).and_then(|p| p.disk.clone());
    if root.is_live() {
        let mounts = mounts::read(root)?;
        let disk_at = |at| {
            let below = block::below(root, &mounts::at(&mounts, at)?.majmin);
            kernel.iter().filter(|p| below.contains(&p.devno)).find_map(|p| disk_of(&p.node))
        };
        if let Some(disk) = ["/sysroot", "/"].into_iter().find_map(disk_at) {
            return Ok(Some(disk));
        }
    }
    let cmdline = root.kernel_cmdline();
    if let Some(mapping) = root_mapping(root, &cmdline, &mappings(root)) {
        let below = block::below(root, &mapping.devno);
        return Ok(kernel.iter().filter(|p| below.contains(&p.devno)).find_map(|p| disk_of(&p.node)));
    }
    let Some(link) = RootArg::parse(&cmdline).and_then(|arg| arg.link()) else { return Ok(None) };
    Ok(disk_of(&node_of(root, &link)?))
}

/// The partition that the configuration names.
fn named(root: &Root, found: &[LabelledPartition], name: &str) -> Result<LabelledPartition> {
    let node = if name.starts_with('/') { Some(node_of(root, name)?) } else { None };
    let wanted = |p: &&LabelledPartition| node.as_ref().map_or(p.label == name, |n| p.node == *n);
    if let Some(partition) = found.iter().find(wanted) {
        return Ok(partition.clone());
    }
    match node {
        Some(node) if root.path(&node).exists() => {
            Ok(LabelledPartition { node, ..LabelledPartition::default() })
        }
        _ => Err(Error::Failed(format!(
            "the configuration names the slot '{name}', but there is no such partition in {}; correct [slots]",
            root.path(BY_LABEL).display()
        ))),
    }
}

/// The partitions beside a root that belong to the same slot.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Beside {
    /// dm-verity hashes.
    pub verity: Option<LabelledPartition>,
    /// The signature of their root hash.
    pub verity_sig: Option<LabelledPartition>,
}

/// What belongs to the roots `a` and `b`: partitions on the same disk that are labelled after them
/// (`rootfs_a_verity`, `root-a-verity-sig`), else, where there are just two of that type, the first
/// and the second.
pub fn beside(found: &[LabelledPartition], a: &LabelledPartition, b: &LabelledPartition) -> (Beside, Beside) {
    let pair = |ends: [&str; 2], is_type: &dyn Fn(&str) -> bool| {
        let named = |slot: &LabelledPartition| {
            let is =
                |p: &&LabelledPartition| ends.iter().any(|end| p.label == format!("{}{end}", slot.label));
            found.iter().find(is).cloned()
        };
        let typed: Vec<&LabelledPartition> =
            found.iter().filter(|p| p.kind.as_deref().is_some_and(is_type)).collect();
        let other =
            |taken: &LabelledPartition| typed.iter().find(|p| p.node != taken.node).map(|p| (*p).clone());
        match (named(a), named(b), typed.as_slice()) {
            (None, None, [first, second]) => (Some((*first).clone()), Some((*second).clone())),
            (Some(a), None, [_, _]) => (Some(a.clone()), other(&a)),
            (None, Some(b), [_, _]) => (other(&b), Some(b)),
            (a, b, _) => (a, b),
        }
    };
    let any = |kind: &str, of: fn(&arch::PartitionTypes) -> Option<&'static str>| {
        arch::ALL.iter().any(|arch| of(&arch.types) == Some(kind))
    };
    let verity = pair(["_verity", "-verity"], &|kind| any(kind, |types| types.verity));
    let sig = pair(["_verity_sig", "-verity-sig"], &|kind| any(kind, |types| types.verity_sig));
    (Beside { verity: verity.0, verity_sig: sig.0 }, Beside { verity: verity.1, verity_sig: sig.1 })
}

/// The labelled partitions on the disk of a slot.
pub fn on_disk_of(root: &Root, slot: &LabelledPartition) -> Result<Vec<LabelledPartition>> {
    let found = list(root, &block::partitions(root))?;
    Ok(found.into_iter().filter(|p| p.disk == slot.disk).collect())
}

/// The slots of the only disk that has them.
fn choose_disk(found: &[LabelledPartition]) -> Result<(LabelledPartition, LabelledPartition)> {
    let mut disks: BTreeMap<&Option<String>, Vec<LabelledPartition>> = BTreeMap::new();
    for partition in found {
        disks.entry(&partition.disk).or_default().push(partition.clone());
    }
    let mut with_slots: Vec<_> = disks.values().filter_map(|on_disk| choose(on_disk).ok()).collect();
    match (with_slots.pop(), with_slots.pop()) {
        (Some(slots), None) => Ok(slots),
        (Some((a, _)), Some((other, _))) => Err(Error::Failed(format!(
            "two disks have partitions labelled as slots ({} and {}), and Abide cannot tell which one this system \
             runs from; remove one, or name the slots by device in [slots] of the configuration",
            other.node, a.node
        ))),
        (None, _) => choose(found),
    }
}

/// Picks the two slots out of the labelled partitions of a disk.
fn choose(found: &[LabelledPartition]) -> Result<(LabelledPartition, LabelledPartition)> {
    let by_label = |label: &str| found.iter().find(|p| p.label == label);
    for (a, b) in KNOWN_LABELS {
        if let (Some(a), Some(b)) = (by_label(a), by_label(b)) {
            return Ok((a.clone(), b.clone()));
        }
    }
    let can_be_root = |p: &&LabelledPartition| {
        p.kind.as_ref().is_none_or(|kind| arch::ALL.iter().any(|arch| arch.types.root == kind))
    };
    let versioned: Vec<&LabelledPartition> =
        found.iter().filter(|p| is_sysupdate_root(&p.label)).filter(can_be_root).collect();
    match versioned.as_slice() {
        [a, b] => Ok(((*a).clone(), (*b).clone())),
        [] | [_] => Err(Error::Failed(
            "cannot find two slots: no partitions are labelled rootfs_a and rootfs_b, rootfs and rootfs_b, \
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
    use crate::arch::PartitionTypes;
    use crate::disk::tests::FakeDisks;

    fn slots(disks: &FakeDisks) -> std::result::Result<(String, String), String> {
        find(&disks.root(), None).map(|(a, b)| (a.node, b.node)).map_err(|e| e.to_string())
    }

    fn nodes(a: &str, b: &str) -> std::result::Result<(String, String), String> {
        Ok((a.into(), b.into()))
    }

    const LINUX: &str = "0fc63daf-8483-4772-8e79-3d69d8477de4";

    #[test]
    fn the_slots_are_on_the_running_disk_not_on_a_stick_with_the_same_labels() {
        let two = |cmdline: &str| {
            FakeDisks::new()
                .cmdline(cmdline)
                .partition("sda", 2, "rootfs_a", LINUX)
                .partition("sda", 3, "rootfs_b", LINUX)
                .partition("sdb", 2, "rootfs_a", LINUX)
                .partition("sdb", 3, "rootfs_b", LINUX)
        };
        assert_eq!(slots(&two("root=PARTUUID=sda-2")), nodes("/dev/sda2", "/dev/sda3"));
        assert_eq!(slots(&two("root=/dev/sdb3")), nodes("/dev/sdb2", "/dev/sdb3"));
        assert!(slots(&two("root=tmpfs")).unwrap_err().contains("two disks"));
    }

    #[test]
    fn a_stick_with_one_of_the_labels_is_not_taken_for_a_slot() {
        let machine = FakeDisks::new()
            .cmdline("quiet")
            .partition("sda", 2, "rootfs", LINUX)
            .partition("sda", 3, "rootfs_b", LINUX)
            .partition("sdb", 2, "rootfs", LINUX);
        assert_eq!(slots(&machine), nodes("/dev/sda2", "/dev/sda3"));
    }

    #[test]
    fn only_partitions_of_a_roots_type_are_slots_of_sysupdate() {
        let root = arch::NATIVE.types.root;
        let machine = FakeDisks::new()
            .cmdline("root=PARTUUID=sda-2")
            .partition("sda", 2, "edge_1.0", root)
            .partition("sda", 3, "_empty", root)
            .partition("sda", 4, "data_1", LINUX);
        assert_eq!(slots(&machine), nodes("/dev/sda2", "/dev/sda3"));
    }

    #[test]
    fn two_empty_slots_share_a_link_and_are_told_apart_all_the_same() {
        let root = arch::NATIVE.types.root;
        let machine = FakeDisks::new()
            .cmdline("root=tmpfs")
            .partition("sda", 2, "_empty", root)
            .partition("sda", 3, "_empty", root);
        assert_eq!(slots(&machine), nodes("/dev/sda2", "/dev/sda3"));
    }

    #[test]
    fn verity_partitions_belong_to_a_root_by_name_or_else_by_order() {
        let root = arch::NATIVE.types.root;
        let PartitionTypes { verity, verity_sig, .. } = arch::NATIVE.types;
        let (hash, sig) = (verity.unwrap(), verity_sig.unwrap());
        let nodes = |labels: [&str; 6]| {
            let machine = FakeDisks::new()
                .cmdline("root=PARTUUID=sda-2")
                .partition("sda", 2, labels[0], root)
                .partition("sda", 3, labels[1], root)
                .partition("sda", 4, labels[2], hash)
                .partition("sda", 5, labels[3], hash)
                .partition("sda", 6, labels[4], sig)
                .partition("sda", 7, labels[5], sig);
            let tree = machine.root();
            let (a, b) = find(&tree, None).unwrap();
            let (a, b) = beside(&on_disk_of(&tree, &a).unwrap(), &a, &b);
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
        let machine = FakeDisks::new()
            .cmdline("root=PARTUUID=sda-2")
            .partition("sda", 2, "edge_1.0", LINUX)
            .partition("sda", 3, "old", LINUX);
        let labels = machine.path("dev/disk/by-partlabel");
        fs::rename(labels.join("old"), labels.join("edge_2.0")).unwrap();
        let found = list(&machine.root(), &block::partitions(&machine.root())).unwrap();
        assert_eq!(found.iter().map(|p| p.label.as_str()).collect::<Vec<_>>(), ["edge_1.0", "edge_2.0"]);
    }
}

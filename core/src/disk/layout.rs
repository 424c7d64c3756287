//! What lies between the partitions of the slots and the running root: which kind of machine this is.

use std::fmt;
use std::path::Path;

use crate::disk::area::Area;
use crate::disk::block;
use crate::disk::block::{Partition, size_of};
use crate::disk::labelled::LabelledPartition;
use crate::disk::mapping::{Mapping, Target, described, mappings, root_mapping};
use crate::disk::own_tree::{HashFile, Luks, OwnTree, tree_size};
use crate::disk::root_arg::{is_mapper, last_value};
use crate::disk::slot_name::SlotName;
use crate::disk::superblock::{self, Content};
use crate::error::Result;
use crate::root::Root;

/// The label of the partition with the root hashes, in Intel's Edge Microvisor Toolkit.
const HASH_FILES: &str = "roothash";

const KIB: u64 = 1 << 10;

/// The kinds of machine.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum LayoutKind {
    /// A slot's root is its partition; or dm-verity lies over it, with a tree that is published with the image.
    #[default]
    Plain,
    /// dm-verity, with a tree that the machine makes itself.
    OwnVerity,
    /// The same over encrypted partitions.
    EncryptedVerity,
    /// A linear mapping over the partition.
    Linear,
    /// None of these.
    Other,
}

impl LayoutKind {
    /// Whether a dm-verity tree is to be made on the machine.
    #[must_use]
    pub fn has_own_tree(self) -> bool {
        matches!(self, Self::OwnVerity | Self::EncryptedVerity)
    }
}

impl fmt::Display for LayoutKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Plain => "plain partitions",
            Self::OwnVerity => "dm-verity with a tree that is made on the machine",
            Self::EncryptedVerity => "encrypted dm-verity with a tree that is made on the machine",
            Self::Linear => "a linear mapping",
            Self::Other => "another device-mapper layout",
        })
    }
}

/// The machine's layout, as the tables of device-mapper show it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Layout {
    /// Which kind it is.
    pub kind: LayoutKind,
    /// The root device and what it lies over; empty where it is no mapping.
    pub root: String,
    /// The slot that the root device lies over, where it is a mapping.
    pub slot: Option<SlotName>,
    /// What keeps a slot from being written.
    pub faults: Vec<Fault>,
}

/// Something that keeps an update from being written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// What kind of thing.
    pub kind: FaultKind,
    /// The slot that cannot be written; `None`: neither.
    pub slot: Option<SlotName>,
    /// What is wrong.
    pub what: String,
    /// What to do about it.
    pub remedy: String,
}

/// The kinds of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaultKind {
    /// The layout is none that Abide can write.
    Unsupported,
    /// An encrypted partition is not open.
    NotOpen,
    /// A partition is missing.
    Missing,
    /// Only an image of the slot's full size does not fit.
    Tight,
}

/// What lies over one slot's partition.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Over {
    /// The opened mapping that content is written to, where the partition is encrypted.
    pub opened: Option<Area>,
    /// The encrypted partition.
    pub luks: Option<Luks>,
    /// The tree beside it.
    pub own_tree: Option<OwnTree>,
}

/// Finds the layout: from the device that the root is mounted from, else from the one that the command line names,
/// and from the tables of device-mapper. `found` are the labelled partitions of the slots' disk.
///
/// # Errors
/// [`Error::Failed`] if the size of a device cannot be read.
pub fn find(
    root: &Root,
    a: &LabelledPartition,
    b: &LabelledPartition,
    found: &[LabelledPartition],
) -> Result<(Layout, [Over; 2])> {
    let plain = || Ok((Layout::default(), [Over::default(), Over::default()]));
    let mappings = mappings(root);
    let cmdline = root.kernel_cmdline();
    let Some(top) = root_mapping(root, &cmdline, &mappings) else { return plain() };
    let is_slot = |slot: &LabelledPartition| slot.node == top.node || slot.node == top.path();
    let is_published = ["roothash", "usrhash"].iter().any(|key| last_value(&cmdline, key).is_some());
    if is_published || is_slot(a) || is_slot(b) || !last_value(&cmdline, "root").is_some_and(is_mapper) {
        return plain();
    }
    let stack = Stack { root, mappings: &mappings, partitions: block::partitions(root), a, b, found };
    stack.layout(top)
}

struct Stack<'a> {
    root: &'a Root,
    mappings: &'a [Mapping],
    partitions: Vec<Partition>,
    a: &'a LabelledPartition,
    b: &'a LabelledPartition,
    found: &'a [LabelledPartition],
}

impl Stack<'_> {
    fn layout(&self, top: &Mapping) -> Result<(Layout, [Over; 2])> {
        let description = described(&top.devno, self.mappings, &self.partitions);
        let layout = |kind, slot, faults| Layout { kind, root: description.clone(), slot, faults };
        match self.kind(top) {
            Ok((kind, slot)) => {
                let (over_a, mut faults) = self.over(kind, SlotName::A)?;
                let (over_b, of_b) = self.over(kind, SlotName::B)?;
                for fault in of_b {
                    if !faults.contains(&fault) {
                        faults.push(fault);
                    }
                }
                Ok((layout(kind, Some(slot), faults), [over_a, over_b]))
            }
            Err(why) => {
                let fault = Fault {
                    kind: FaultKind::Unsupported,
                    slot: None,
                    what: format!("the root is {description}: {why}"),
                    remedy: "Abide supports plain partitions, and the verity, encrypted and linear layouts of Edge \
                             Microvisor Toolkit"
                        .into(),
                };
                let none = [Over::default(), Over::default()];
                Ok((layout(LayoutKind::Other, self.slot_below(&top.devno), vec![fault]), none))
            }
        }
    }

    /// The kind and the running slot; or why it is none of the known kinds.
    fn kind(&self, top: &Mapping) -> std::result::Result<(LayoutKind, SlotName), String> {
        match top.only_target() {
            Some(Target::Verity { data, hashes, .. }) => self.verity(data, hashes),
            Some(Target::Linear { on, start: 0 }) => {
                let slot = self.slot_of(on).ok_or("the linear mapping lies over neither slot's partition")?;
                match self.labelled(&hashes_label(slot)) {
                    None => Ok((LayoutKind::Linear, slot)),
                    Some(hashes) => Err(format!(
                        "a linear mapping, although {} is labelled {}",
                        hashes.node, hashes.label
                    )),
                }
            }
            Some(Target::Other { kind, .. }) if kind == "unknown" => {
                Err("its table cannot be read; run Abide as root".into())
            }
            _ => Err("neither dm-verity nor one linear mapping of a whole slot".into()),
        }
    }

    fn verity(&self, data: &str, hashes: &str) -> std::result::Result<(LayoutKind, SlotName), String> {
        let (partition, is_encrypted) = self.decrypted(data);
        let slot = self.slot_of(partition).ok_or("the verity mapping lies over neither slot's partition")?;
        let label = hashes_label(slot);
        let own = self.labelled(&label).ok_or_else(|| format!("no partition is labelled {label}"))?;
        let (hash_partition, _) = self.decrypted(hashes);
        if own.devno.as_deref() != Some(hash_partition) {
            let node = described(hash_partition, self.mappings, &self.partitions);
            return Err(format!("slot {slot} runs with the hashes on {node}, but {label} is {}", own.node));
        }
        let kind = if is_encrypted { LayoutKind::EncryptedVerity } else { LayoutKind::OwnVerity };
        Ok((kind, slot))
    }

    /// The partition below a crypt mapping, and whether there is one; else the device itself.
    fn decrypted<'d>(&'d self, devno: &'d str) -> (&'d str, bool) {
        let mapping = self.mappings.iter().find(|m| m.devno == devno);
        mapping.and_then(Mapping::decrypts).map_or((devno, false), |on| (on, true))
    }

    fn slot_of(&self, devno: &str) -> Option<SlotName> {
        SlotName::ALL.into_iter().find(|name| self.slot(*name).devno.as_deref() == Some(devno))
    }

    /// The only slot that a device is built on.
    fn slot_below(&self, devno: &str) -> Option<SlotName> {
        let below = block::below(self.root, devno);
        let mut slots = below.iter().filter_map(|devno| self.slot_of(devno));
        slots.next().filter(|_| slots.next().is_none())
    }

    fn slot(&self, name: SlotName) -> &LabelledPartition {
        match name {
            SlotName::A => self.a,
            SlotName::B => self.b,
        }
    }

    /// The only partition with this label.
    fn labelled(&self, label: &str) -> Option<&LabelledPartition> {
        let mut all = self.found.iter().filter(|p| p.label == label);
        all.next().filter(|_| all.next().is_none())
    }

    fn over(&self, kind: LayoutKind, name: SlotName) -> Result<(Over, Vec<Fault>)> {
        let mut faults = Vec::new();
        let mut keep =
            |found: std::result::Result<Area, Fault>| found.map_err(|fault| faults.push(fault)).ok();
        let slot = self.slot(name);
        let (mut over, mut size) = (Over::default(), size_of(self.root, &self.root.path(&slot.node))?);
        if kind == LayoutKind::EncryptedVerity {
            let opened = keep(self.opened(slot, Some(name))?);
            let uuid = match superblock::read(&self.root.path(&slot.node)) {
                Some(Content::Luks(uuid)) => Some(uuid),
                _ => None,
            };
            over.luks = Some(Luks { area: self.area(slot)?, uuid });
            size = opened.as_ref().map_or(size, |area| area.size);
            over.opened = opened;
        }
        if !kind.has_own_tree() {
            return Ok((over, faults));
        }
        let hashes = keep(self.own_area(&hashes_label(name), Some(name))?);
        let hash_file = keep(self.own_area(HASH_FILES, None)?);
        faults.extend(hashes.as_ref().and_then(|hashes| too_small(name, size, hashes)));
        over.own_tree = hashes.zip(hash_file).map(|(hashes, area)| OwnTree {
            hashes,
            hash_file: HashFile { area, name: format!("part_{name}_roothash") },
        });
        Ok((over, faults))
    }

    /// The device to use of the partition with this label.
    fn own_area(&self, label: &str, slot: Option<SlotName>) -> Result<std::result::Result<Area, Fault>> {
        match self.labelled(label) {
            Some(partition) => self.opened(partition, slot),
            None => Ok(Err(Fault {
                kind: FaultKind::Missing,
                slot,
                what: format!(
                    "the root is {}, but the disk does not have exactly one partition labelled {label}",
                    LayoutKind::OwnVerity
                ),
                remedy: format!("label the partition, for instance with sgdisk --change-name=N:{label} DISK"),
            })),
        }
    }

    /// The crypt mapping over a partition; the partition itself where it is not encrypted.
    fn opened(
        &self,
        partition: &LabelledPartition,
        slot: Option<SlotName>,
    ) -> Result<std::result::Result<Area, Fault>> {
        let on = partition.devno.as_deref();
        if let Some(mapping) = self.mappings.iter().find(|m| on.is_some() && m.decrypts() == on) {
            let device = self.root.path(&mapping.node);
            let size = size_of(self.root, &device)?;
            return Ok(Ok(Area { device, node: mapping.path(), label: partition.label.clone(), size }));
        }
        if self.is_encrypted(&self.root.path(&partition.node)) {
            return Ok(Err(Fault {
                kind: FaultKind::NotOpen,
                slot,
                what: format!(
                    "{} ({}) is encrypted, and no device-mapper device is open over it",
                    partition.node, partition.label
                ),
                remedy: format!(
                    "open it as the initramfs does, with cryptsetup open {} NAME, and run it again",
                    partition.node
                ),
            }));
        }
        self.area(partition).map(Ok)
    }

    fn is_encrypted(&self, device: &Path) -> bool {
        matches!(superblock::read(device), Some(Content::Luks(_)))
    }

    fn area(&self, partition: &LabelledPartition) -> Result<Area> {
        let device = self.root.path(&partition.node);
        let size = size_of(self.root, &device)?;
        Ok(Area { device, node: partition.node.clone(), label: partition.label.clone(), size })
    }
}

fn hashes_label(slot: SlotName) -> String {
    format!("hashmap_{slot}")
}

/// `hashes` has no room for the tree of a root that fills its slot.
fn too_small(slot: SlotName, size: u64, hashes: &Area) -> Option<Fault> {
    let needed = tree_size(size);
    (needed > hashes.size).then(|| Fault {
        kind: FaultKind::Tight,
        slot: Some(slot),
        what: format!(
            "{} ({}) has {} KiB, but the hash tree of a root that fills slot {slot} takes {} KiB",
            hashes.node,
            hashes.label,
            hashes.size / KIB,
            needed / KIB
        ),
        remedy: "enlarge the partition, or keep images smaller".into(),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::disk::tests::FakeDisks;
    use crate::disk::{Slot, Slots};

    const LABELS: [(u32, &str); 5] =
        [(2, "rootfs"), (4, "hashmap_a"), (5, "hashmap_b"), (6, "rootfs_b"), (7, "roothash")];

    fn disk() -> FakeDisks {
        let disks = FakeDisks::new().cmdline("root=/dev/mapper/rootfs_verity boot_uuid=u");
        LABELS.into_iter().fold(disks, |disks, (number, label)| disks.partition("sda", number, label, ""))
    }

    fn devno(number: u32) -> String {
        FakeDisks::devno("sda", number)
    }

    fn verity(data: &str, hashes: &str) -> String {
        format!("verity 1 {data} {hashes} 4096 4096 64 1 sha256 aa 00")
    }

    fn crypt(number: u32) -> String {
        format!("crypt aes-xts-plain64 :64:logon:x 0 {} 32768", devno(number))
    }

    fn own_nodes(slot: &Slot) -> (String, String, String) {
        let OwnTree { hashes, hash_file } = slot.own_tree.clone().unwrap();
        (hashes.node, hash_file.area.node, hash_file.name)
    }

    fn nodes(hashes: &str, file: &str, name: &str) -> (String, String, String) {
        (hashes.into(), file.into(), name.into())
    }

    #[test]
    fn each_slot_of_a_verity_node_has_its_tree_and_its_hash_file() {
        let table = verity(&devno(6), &devno(5));
        let disk = disk().mapping(0, "rootfs_verity", &table, &["sda6", "sda5"]);
        let Slots { a, b, layout } = Slots::find(&disk.root(), None).unwrap();
        assert_eq!((layout.kind, layout.slot), (LayoutKind::OwnVerity, Some(SlotName::B)));
        assert_eq!(layout.root, "/dev/mapper/rootfs_verity (verity over /dev/sda6 and /dev/sda5)");
        assert_eq!(own_nodes(&a), nodes("/dev/sda4", "/dev/sda7", "part_a_roothash"));
        assert_eq!(own_nodes(&b), nodes("/dev/sda5", "/dev/sda7", "part_b_roothash"));
        assert_eq!((a.device, a.luks), (disk.path("dev/sda2"), None));
    }

    #[test]
    fn an_encrypted_slot_is_written_through_its_mapping_whatever_the_name() {
        let names = ["one", "two", "three", "four", "five"];
        let disk = (0..).zip(LABELS).zip(names).fold(disk(), |disk, ((dm, (number, _)), name)| {
            disk.mapping(dm, name, &crypt(number), &[&format!("sda{number}")])
        });
        let disk = disk.mapping(9, "rootfs_verity", &verity("253:0", "253:1"), &["dm-0", "dm-1"]);
        let Slots { a, b, layout } = Slots::find(&disk.root(), None).unwrap();
        assert_eq!((layout.kind, layout.slot), (LayoutKind::EncryptedVerity, Some(SlotName::A)));
        assert_eq!(own_nodes(&a), nodes("/dev/mapper/two", "/dev/mapper/five", "part_a_roothash"));
        assert_eq!(own_nodes(&b), nodes("/dev/mapper/three", "/dev/mapper/five", "part_b_roothash"));
        assert_eq!((&b.device, b.node.as_str(), b.size), (&disk.path("dev/dm-3"), "/dev/sda6", 1 << 20));
        assert_eq!(b.luks.unwrap().area.node, "/dev/sda6");
    }

    #[test]
    fn a_mapping_that_is_no_root_of_the_toolkit_is_named_and_refused() {
        let why = |disk: FakeDisks| {
            let slots = Slots::find(&disk.root(), None).unwrap();
            assert_eq!(slots.layout.kind, LayoutKind::Other);
            assert_eq!((slots.a.own_tree, slots.b.own_tree), (None, None));
            slots.layout.faults.first().unwrap().what.clone()
        };
        let root = |table: &str, over: &[&str]| disk().mapping(0, "rootfs_verity", table, over);
        let said = why(root(&verity(&devno(2), &devno(5)), &["sda2", "sda5"]));
        assert!(
            said.contains("slot a runs with the hashes on /dev/sda5, but hashmap_a is /dev/sda4"),
            "{said}"
        );
        let said = why(root(&verity(&devno(4), &devno(5)), &["sda4", "sda5"]));
        assert!(said.contains("over neither slot"), "{said}");
        let said = why(root(&format!("linear {} 0", devno(2)), &["sda2"]));
        assert!(said.contains("although /dev/sda4 is labelled hashmap_a"), "{said}");
        let said = why(root(&format!("linear {} 8", devno(2)), &["sda2"]));
        assert!(said.contains("(linear over /dev/sda2): neither dm-verity nor one linear mapping"), "{said}");
        assert!(why(root(&crypt(2), &["sda2"])).contains("(crypt over /dev/sda2)"));
    }

    #[test]
    fn a_published_hash_a_real_root_and_a_mapping_that_is_a_slot_are_plain() {
        let kind = |cmdline: &str| {
            let table = verity(&devno(2), &devno(4));
            let disk = disk().cmdline(cmdline).mapping(0, "x", &table, &["sda2", "sda4"]);
            Slots::find(&disk.root(), None).unwrap().layout.kind
        };
        assert_eq!(kind("root=/dev/mapper/x boot_uuid=u"), LayoutKind::OwnVerity);
        assert_eq!(kind("root=/dev/mapper/x roothash=aa"), LayoutKind::Plain);
        assert_eq!(kind("root=PARTUUID=sda-2 boot_uuid=u"), LayoutKind::Plain);
        assert_eq!(kind("root=/dev/mapper/other"), LayoutKind::Plain);
        let lvm = FakeDisks::new().cmdline("root=/dev/mapper/vg-a").partition("sda", 2, "pv", "");
        let lvm = lvm.mapping(0, "vg-a", &format!("linear {} 2048", devno(2)), &["sda2"]);
        let lvm = lvm.mapping(1, "vg-b", &format!("linear {} 9999", devno(2)), &["sda2"]);
        let slots = Slots::find(&lvm.root(), Some(("/dev/dm-0", "/dev/dm-1"))).unwrap();
        assert_eq!(slots.layout, Layout::default());
    }

    #[test]
    fn the_device_that_is_mounted_goes_before_the_one_that_is_named() {
        let disk = disk()
            .mapping(0, "rootfs_verity", &verity(&devno(2), &devno(4)), &["sda2", "sda4"])
            .mapping(1, "other", &verity(&devno(6), &devno(5)), &["sda6", "sda5"]);
        let slot = || Slots::find(&disk.root(), None).unwrap().layout.slot;
        assert_eq!(slot(), Some(SlotName::A));
        std::fs::create_dir_all(disk.path("proc/self")).unwrap();
        let mounted = |line: &str| std::fs::write(disk.path("proc/self/mountinfo"), line).unwrap();
        mounted("22 1 253:1 / / ro - ext4 /dev/mapper/rootfs_verity ro\n");
        assert_eq!(slot(), Some(SlotName::B));
        mounted("22 1 0:30 / / ro - overlay overlay ro\n");
        assert_eq!(slot(), Some(SlotName::A));
    }
}

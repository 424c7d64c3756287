//! The two slots of the machine, as they are found on its disk.

use std::path::PathBuf;

use crate::disk::area::Area;
use crate::disk::block::size_of;
use crate::disk::labelled;
use crate::disk::labelled::LabelledPartition;
use crate::disk::layout;
use crate::disk::layout::{Layout, Over};
use crate::disk::links::{links, udev_decoded};
use crate::disk::own_tree::{Luks, OwnTree};
use crate::disk::root_arg::RootArg;
use crate::disk::slot_name::SlotName;
use crate::disk::superblock::{self, Content};
use crate::error::{Error, Result};
use crate::root::Root;

/// A partition that holds, or will hold, the root of one copy of the system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slot {
    /// Which one it is.
    pub name: SlotName,
    /// What content is written to: the partition, or the opened mapping over it where it is encrypted. A block
    /// device, or with `--root` perhaps a plain file.
    pub device: PathBuf,
    /// The partition as the tree's own path, for messages and comparisons: `/dev/sda2`.
    pub node: String,
    /// The partition's label.
    pub label: String,
    /// The partition's UUID, in lower case, if a by-partuuid link shows it.
    pub partuuid: Option<String>,
    /// The file system's UUID, in lower case: that of an ext4 is read from it, any other is known where a by-uuid link
    /// leads here. Two slots with the same image share it, and the link leads to only one of them.
    pub fs_uuid: Option<String>,
    /// The file system's label, where a by-label link leads here, with the same caution.
    pub fs_label: Option<String>,
    /// The UUID that `boot_uuid=` means: of the partition's LUKS2 header or of its ext4, read from the partition.
    pub boot_uuid: Option<String>,
    /// The size of `device` in bytes.
    pub size: u64,
    /// The partition with the root's dm-verity hashes, if the slot has one.
    pub verity: Option<Area>,
    /// The partition with their signature, if the slot has one.
    pub verity_sig: Option<Area>,
    /// The encrypted partition below `device`, where the slot is encrypted: its LUKS2 header holds the UUID that the
    /// UKI names.
    pub luks: Option<Luks>,
    /// Where the machine makes the dm-verity tree itself, and keeps its root hash in a file.
    pub own_tree: Option<OwnTree>,
}

impl Slot {
    fn new(root: &Root, name: SlotName, partition: LabelledPartition) -> Result<Self> {
        let LabelledPartition { label, node, .. } = partition;
        let device = root.path(&node);
        let content = superblock::read(&device);
        let ext_uuid = match &content {
            Some(Content::Ext(uuid)) => Some(uuid.clone()),
            _ => None,
        };
        let alias = |dir| -> Result<Option<String>> {
            Ok(links(root, dir)?.into_iter().find(|(_, to)| *to == node).map(|(name, _)| name))
        };
        Ok(Self {
            name,
            size: size_of(root, &device)?,
            partuuid: alias("/dev/disk/by-partuuid")?.map(|u| u.to_ascii_lowercase()),
            fs_uuid: ext_uuid.or(alias("/dev/disk/by-uuid")?.map(|u| u.to_ascii_lowercase())),
            fs_label: alias("/dev/disk/by-label")?.map(|l| udev_decoded(&l)),
            boot_uuid: content.map(|content| content.uuid().to_owned()),
            device,
            node,
            label,
            verity: None,
            verity_sig: None,
            luks: None,
            own_tree: None,
        })
    }

    fn with(mut self, root: &Root, beside: labelled::Beside, over: Over) -> Result<Self> {
        let area = |partition: Option<LabelledPartition>| -> Result<Option<Area>> {
            let Some(LabelledPartition { label, node, .. }) = partition else { return Ok(None) };
            let device = root.path(&node);
            Ok(Some(Area { size: size_of(root, &device)?, device, node, label }))
        };
        self.verity = area(beside.verity)?;
        self.verity_sig = area(beside.verity_sig)?;
        if let Some(Area { device, size, .. }) = over.opened {
            (self.device, self.size) = (device, size);
        }
        self.luks = over.luks;
        self.own_tree = over.own_tree;
        Ok(self)
    }

    /// Whether a root named in this way is this slot.
    #[must_use]
    pub fn is(&self, root: &RootArg) -> bool {
        let eq = |have: &Option<String>, want: &str| have.as_deref() == Some(want);
        match root {
            RootArg::PartUuid(uuid) => eq(&self.partuuid, uuid),
            RootArg::PartLabel(label) => self.label == *label,
            RootArg::FsUuid(uuid) => eq(&self.fs_uuid, uuid),
            RootArg::FsLabel(label) => eq(&self.fs_label, label),
            // A slot without content that could have it is known by its partition's UUID, which earlier versions set.
            RootArg::BootUuid(uuid) if self.boot_uuid.is_none() => {
                eq(&self.partuuid, uuid) || eq(&self.fs_uuid, uuid)
            }
            RootArg::BootUuid(uuid) => eq(&self.boot_uuid, uuid),
            RootArg::RootHash(_) => {
                self.partuuid.is_some() && root.partition_uuid().as_ref() == self.partuuid.as_ref()
            }
            RootArg::Node(node) => self.node == *node,
            RootArg::Other(_) => false,
        }
    }
}

/// Both slots.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slots {
    /// Slot `a`.
    pub a: Slot,
    /// Slot `b`.
    pub b: Slot,
    /// What lies between their partitions and the running root.
    pub layout: Layout,
}

impl Slots {
    /// Finds the slots: by `labels` (of a and of b; partition labels, or device paths starting with `/`)
    /// where the configuration names them, else by known labels.
    ///
    /// # Errors
    /// [`Error::Failed`] if there are no two slots, or if it is not clear which ones they are.
    pub fn find(root: &Root, labels: Option<(&str, &str)>) -> Result<Self> {
        let (a, b) = labelled::find(root, labels)?;
        if a.node == b.node {
            return Err(Error::Failed(format!(
                "slots a and b are the same partition {}; name two in [slots] of the configuration",
                a.node
            )));
        }
        let found = labelled::on_disk_of(root, &a)?;
        let (beside_a, beside_b) = labelled::beside(&found, &a, &b);
        let (layout, [over_a, over_b]) = layout::find(root, &a, &b, &found)?;
        let (a, b) = (Slot::new(root, SlotName::A, a)?, Slot::new(root, SlotName::B, b)?);
        let (a, b) = (a.with(root, beside_a, over_a)?, b.with(root, beside_b, over_b)?);
        Ok(Self { a, b, layout })
    }

    /// The slot of that name.
    #[must_use]
    pub fn get(&self, name: SlotName) -> &Slot {
        match name {
            SlotName::A => &self.a,
            SlotName::B => &self.b,
        }
    }

    /// The slot that a command line (of the kernel, or of a UKI) names as its root.
    /// `None` if it names neither, or if what it names could be both.
    #[must_use]
    pub fn of_cmdline(&self, cmdline: &str) -> Option<SlotName> {
        self.of_root(&RootArg::parse(cmdline)?)
    }

    /// The slot that a root means. `None` if it is neither, or could be both.
    #[must_use]
    pub fn of_root(&self, root: &RootArg) -> Option<SlotName> {
        match SlotName::ALL.map(|name| self.get(name).is(root)) {
            [true, false] => Some(SlotName::A),
            [false, true] => Some(SlotName::B),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    struct FakeTree(tempfile::TempDir);

    impl FakeTree {
        fn new() -> Self {
            Self(tempfile::tempdir().unwrap())
        }

        /// A partition as a plain file of `size` bytes, with a label and perhaps a UUID.
        fn partition(self, node: &str, size: u64, label: &str, uuid: Option<&str>) -> Self {
            let dev = self.0.path().join("dev");
            let (labels, uuids) = (dev.join("disk/by-partlabel"), dev.join("disk/by-partuuid"));
            fs::create_dir_all(&labels).unwrap();
            fs::create_dir_all(&uuids).unwrap();
            fs::File::create(dev.join(node)).unwrap().set_len(size).unwrap();
            symlink(format!("../../{node}"), labels.join(label)).unwrap();
            if let Some(uuid) = uuid {
                symlink(format!("/dev/{node}"), uuids.join(uuid)).unwrap();
            }
            self
        }

        fn root(&self) -> Root {
            Root::at(self.0.path())
        }

        fn find(&self) -> Result<Slots> {
            Slots::find(&self.root(), None)
        }
    }

    #[test]
    fn slots_are_found_by_every_known_pair_of_labels() {
        let pairs = [
            ("rootfs_a", "rootfs_b"),
            ("rootfs", "rootfs_b"),
            ("root-a", "root-b"),
            ("edge_1.0", "_empty"),
            ("_empty", "edge_1.0"),
            ("my_os_1.0-rc1", "my_os_2.0"),
        ];
        for (a, b) in pairs {
            let tree = FakeTree::new().partition("sda2", 8, a, Some("AA")).partition("sda10", 16, b, None);
            let slots = tree.find().unwrap();
            assert_eq!((slots.a.label.as_str(), slots.b.label.as_str()), (a, b));
            assert_eq!((slots.a.size, slots.b.size), (8, 16));
            assert_eq!((slots.a.partuuid.as_deref(), slots.b.partuuid.as_deref()), (Some("aa"), None));
            assert_eq!(slots.a.device, tree.0.path().join("dev/sda2"));
            assert_eq!(slots.a.node, "/dev/sda2");
        }
    }

    #[test]
    fn other_partitions_are_not_taken_for_slots() {
        let tree = FakeTree::new()
            .partition("sda1", 1, "esp", None)
            .partition("sda2", 1, "edge_1.0", None)
            .partition("sda3", 1, "edge_verity_1.0", None)
            .partition("sda4", 1, "edge_persistent", None);
        assert!(matches!(tree.find(), Err(Error::Failed(_))));
    }

    #[test]
    fn three_versioned_partitions_are_one_too_many() {
        let tree = FakeTree::new()
            .partition("sda1", 1, "edge_1.0", None)
            .partition("sda2", 1, "edge_2.0", None)
            .partition("sda3", 1, "data_1", None);
        assert!(tree.find().unwrap_err().to_string().contains("more than two"));
    }

    #[test]
    fn the_configuration_names_slots_by_label_or_by_device() {
        let tree = FakeTree::new().partition("sda2", 1, "left", None).partition("sda3", 1, "right", None);
        let slots = Slots::find(&tree.root(), Some(("right", "/dev/sda2"))).unwrap();
        assert_eq!((slots.a.node.as_str(), slots.b.node.as_str()), ("/dev/sda3", "/dev/sda2"));
        assert_eq!(slots.b.label, "left");
        assert!(Slots::find(&tree.root(), Some(("right", "nowhere"))).is_err());
        assert!(Slots::find(&tree.root(), Some(("right", "/dev/sda3"))).is_err());
    }

    #[test]
    fn the_command_line_tells_the_slot() {
        let tree = FakeTree::new().partition("sda2", 1, "rootfs_a", Some("AA")).partition(
            "sda3",
            1,
            "rootfs_b",
            Some("BB"),
        );
        let slots = tree.find().unwrap();
        let cases = [
            ("root=PARTUUID=aa", Some(SlotName::A)),
            ("root=PARTUUID=BB", Some(SlotName::B)),
            ("root=PARTLABEL=rootfs_b ro", Some(SlotName::B)),
            ("root=/dev/sda3", Some(SlotName::B)),
            ("root=/dev/mapper/x boot_uuid=AA", Some(SlotName::A)),
            ("root=/dev/sda4", None),
            ("quiet", None),
        ];
        for (cmdline, want) in cases {
            assert_eq!(slots.of_cmdline(cmdline), want, "{cmdline}");
        }
    }

    #[test]
    fn a_root_that_could_be_both_slots_is_neither() {
        let tree =
            FakeTree::new().partition("sda2", 1, "rootfs_a", None).partition("sda3", 1, "rootfs_b", None);
        let mut slots = tree.find().unwrap();
        slots.a.fs_uuid = Some("1".into());
        slots.b.fs_uuid = Some("1".into());
        assert_eq!(slots.of_cmdline("root=UUID=1"), None);
    }
}

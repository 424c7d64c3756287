//! The partitions of this machine with the types and GUIDs in their tables: ESP and XBOOTLDR are recognised by
//! these.

use std::fs::File;

use log::debug;

use crate::disk::block;
use crate::disk::block::Partition;
use crate::disk::gpt;
use crate::root::Root;

/// The type of the EFI system partition (UEFI specification).
pub const ESP_TYPE: &str = "c12a7328-f81f-11d2-ba4b-00a0c93ec93b";
/// The type of the extended boot loader partition (Discoverable Partitions Specification).
pub(super) const XBOOTLDR_TYPE: &str = "bc13c2ff-59e6-4262-a352-b275fd6f7172";

/// A partition of a disk with a GPT.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TypedPartition {
    /// As the kernel knows it.
    pub partition: Partition,
    /// The type's GUID, in lower case.
    pub kind: String,
    /// The partition's own GUID, in lower case.
    pub uuid: String,
}

/// All partitions of all disks with a GPT, by disk and number; what cannot be read is left out.
#[must_use]
pub fn list(root: &Root) -> Vec<TypedPartition> {
    let partitions = block::partitions(root);
    let mut typed = Vec::new();
    for of_disk in partitions.chunk_by(|one, next| one.disk == next.disk) {
        let Some(disk) = of_disk.first().map(|partition| &partition.disk) else { continue };
        let node = block::node_of_disk(root, disk);
        let table = File::open(&node).and_then(|file| gpt::read(file, block::logical_block_size(root, disk)));
        let table = match table {
            Ok(table) => table,
            Err(e) => {
                debug!("{}: no partition table read: {e}", node.display());
                continue;
            }
        };
        typed.extend(of_disk.iter().filter_map(|partition| {
            let entry = table.iter().find(|entry| entry.number == partition.number)?;
            let (kind, uuid) = (entry.kind.clone(), entry.uuid.clone());
            Some(TypedPartition { partition: partition.clone(), kind, uuid })
        }));
    }
    typed
}

#[cfg(test)]
mod tests {
    #![allow(clippy::indexing_slicing)]
    use super::*;
    use crate::disk::tests::FakeDisks;

    const UUID: &str = "01234567-89ab-cdef-0123-456789abcdef";

    #[test]
    fn the_type_and_guid_of_every_partition_are_read() {
        let disks = FakeDisks::new().disk("sda", &[(ESP_TYPE, UUID), (XBOOTLDR_TYPE, ESP_TYPE)]);
        let typed = list(&disks.root());
        let shown: Vec<_> =
            typed.iter().map(|t| (t.partition.node.as_str(), t.kind.as_str(), t.uuid.as_str())).collect();
        assert_eq!(shown, [("/dev/sda1", ESP_TYPE, UUID), ("/dev/sda2", XBOOTLDR_TYPE, ESP_TYPE)]);
    }

    #[test]
    fn a_disk_without_a_table_does_not_hide_the_others() {
        let disks = FakeDisks::new().partition("sda", 1, "data", "").disk("sdb", &[(ESP_TYPE, UUID)]);
        assert_eq!(
            list(&disks.root()).iter().map(|t| t.partition.disk.as_str()).collect::<Vec<_>>(),
            ["sdb"]
        );
    }
}

//! A second partition table that is not at the end of its disk.

use std::fs::File;
use std::io::{Seek, SeekFrom};
use std::path::PathBuf;

use crate::disk::gpt::{PartitionTable, SecondCopy};
use crate::disk::relabel::{disk_of, second_copy_remedy};
use crate::disk::role::root_area;
use crate::doctor::finding::Finding;
use abide_core::disk::{Slot, Slots, is_sysupdate_root};
use abide_core::root::Root;

/// A disk with a slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SlotDisk {
    /// Its node on the machine.
    pub node: PathBuf,
    /// Where its second partition table is.
    pub second: SecondCopy,
    /// Whether every update changes its table.
    pub is_relabelled: bool,
}

pub(super) fn look(disks: &[SlotDisk]) -> Vec<Finding> {
    disks.iter().filter(|disk| disk.second != SecondCopy::AtEnd).map(finding).collect()
}

fn finding(disk: &SlotDisk) -> Finding {
    let what = format!("{}: the second partition table is {}", disk.node.display(), disk.second);
    let (finding, refused) = if disk.is_relabelled {
        (
            Finding::error("second-gpt", what),
            "every update here changes the table, so `abide write` refuses it",
        )
    } else {
        (
            Finding::warning("second-gpt", what),
            "`abide write` refuses an image for which the table must change",
        )
    };
    finding
        .because(format!("if a power cut tears the first one, the firmware finds no partitions; {refused}"))
        .remedy(second_copy_remedy(&disk.node))
}

/// The disks of the slots; without those whose table cannot be read.
pub(super) fn read(root: &Root, slots: &Slots) -> Vec<SlotDisk> {
    let mut disks: Vec<SlotDisk> = vec![];
    for slot in [&slots.a, &slots.b] {
        let Some(found) = read_disk(root, slot) else { continue };
        match disks.iter_mut().find(|disk| disk.node == found.node) {
            Some(disk) => disk.is_relabelled |= found.is_relabelled,
            None => disks.push(found),
        }
    }
    disks
}

fn read_disk(root: &Root, slot: &Slot) -> Option<SlotDisk> {
    let (node, _) = disk_of(root, &root_area(slot))?;
    let mut disk = File::open(root.path(&node)).ok()?;
    let table = PartitionTable::read(&mut disk).ok()?;
    let second = table.second_copy(disk.seek(SeekFrom::End(0)).ok()?);
    // The labels that systemd-sysupdate gives have the version; the UUIDs of a verity slot are its root hash.
    let is_relabelled = is_sysupdate_root(&slot.label) || slot.verity.is_some();
    Some(SlotDisk { node, second, is_relabelled })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::finding::Severity;

    #[test]
    fn a_table_that_every_update_changes_makes_it_an_error() {
        let found = |second, is_relabelled| {
            let disks = [SlotDisk { node: "/dev/sda".into(), second, is_relabelled }];
            look(&disks).into_iter().next().map(|finding| finding.severity)
        };
        assert_eq!(found(SecondCopy::AtEnd, true), None);
        assert_eq!(found(SecondCopy::BeforeEnd, true), Some(Severity::Error));
        assert_eq!(found(SecondCopy::BeforeEnd, false), Some(Severity::Warning));
        assert_eq!(found(SecondCopy::BeyondEnd, false), Some(Severity::Warning));
    }
}

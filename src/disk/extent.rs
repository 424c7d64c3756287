//! Where a partition lies on its disk, as the firmware's boot options name it.

use std::fs::File;

use abide_core::boot::esp::partitions;
use abide_core::disk::block;
use abide_core::root::Root;

use crate::disk::gpt::PartitionTable;

/// A partition's place, in the disk's logical blocks.
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
    let found = partitions::list(root).into_iter().find(|found| found.uuid == uuid)?.partition;
    let mut disk = File::open(block::node_of_disk(root, &found.disk)).ok()?;
    let table = PartitionTable::read(&mut disk).ok()?;
    let entry = table.partitions.get(&found.number)?;
    let size = entry.last_lba.checked_sub(entry.first_lba)?.checked_add(1)?;
    Some(Extent { number: found.number, start: entry.first_lba, size })
}

//! A boot partition that is a member of a RAID array, as some installers mirror the ESP over two disks.
//!
//! The firmware reads one member as if it were a plain partition; the operating system must write to the array, or
//! the members differ.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::boot::esp::dirs::Access;
use crate::disk::block;
use crate::disk::block::Partition;
use crate::error::{Error, Result};
use crate::root::Root;

/// `MD_SB_MAGIC` (Linux, `include/uapi/linux/raid/md_p.h`).
const MAGIC: u32 = 0xa92b_4efc;
/// Both formats that leave the file system at the beginning of the partition end with their superblock: 0.90 in the
/// last whole 64 KiB, 1.0 in the last 8 KiB, aligned to 4 KiB (md(4)).
const OLD_ALIGN: u64 = 64 << 10;
const NEW_END: u64 = 8 << 10;
const NEW_ALIGN: u64 = 4 << 10;

/// What `partition` is read and written through: itself, or the array that it is a member of.
///
/// # Errors
/// [`Error::Boot`] if something else than an array holds it, or if it is to be written and its array is not assembled.
pub(super) fn through(root: &Root, partition: &Partition, access: Access) -> Result<Partition> {
    let holders = block::holders(root, &partition.devno);
    match holders.as_slice() {
        [] if access == Access::Write && is_member(root, &partition.node) => Err(Error::Boot(format!(
            "{}: is a member of a RAID array that is not assembled; assemble it, or if it is not a member any more, \
             erase the superblock (mdadm --zero-superblock)",
            partition.node
        ))),
        [] => Ok(partition.clone()),
        [holder] if holder.disk.starts_with("md") => Ok(holder.clone()),
        held => Err(Error::Boot(format!(
            "{}: is used by {}, which is not a RAID array of md; Abide cannot use it as a boot partition",
            partition.node,
            held.iter().map(|holder| holder.node.as_str()).collect::<Vec<_>>().join(", ")
        ))),
    }
}

fn is_member(root: &Root, node: &str) -> bool {
    let path = root.path(node);
    let size = block::size_of(root, &path).unwrap_or(0);
    let superblocks = [
        size.checked_sub(NEW_END).map(|at| at / NEW_ALIGN * NEW_ALIGN),
        (size / OLD_ALIGN * OLD_ALIGN).checked_sub(OLD_ALIGN),
    ];
    superblocks.into_iter().flatten().any(|at| has_magic(&path, at).unwrap_or(false))
}

fn has_magic(path: &Path, at: u64) -> std::io::Result<bool> {
    let mut magic = [0; 4];
    File::open(path)?.read_exact_at(&mut magic, at)?;
    // The old format is in the byte order of the machine that made it.
    Ok(u32::from_le_bytes(magic) == MAGIC || u32::from_be_bytes(magic) == MAGIC)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::disk::tests::FakeDisks;

    fn only(disks: &FakeDisks) -> Partition {
        block::partitions(&disks.root()).remove(0)
    }

    #[test]
    fn a_partition_that_nothing_holds_is_used_itself() {
        let disks = FakeDisks::new().partition("sda", 1, "", "");
        let esp = only(&disks);
        assert_eq!(through(&disks.root(), &esp, Access::Write).unwrap(), esp);
    }

    #[test]
    fn a_member_of_an_array_is_written_through_the_array() {
        let disks = FakeDisks::new().partition("sda", 1, "", "").held("sda", 1, "md127", "9:127");
        let used = through(&disks.root(), &only(&disks), Access::Write).unwrap();
        assert_eq!((used.node.as_str(), used.devno.as_str()), ("/dev/md127", "9:127"));
    }

    #[test]
    fn a_member_whose_array_is_not_assembled_is_read_and_not_written() {
        for at in [(1 << 20) - (8 << 10), (1 << 20) - (64 << 10)] {
            let disks = FakeDisks::new().partition("sda", 1, "", "");
            let device = File::options().write(true).open(disks.path("dev/sda1")).unwrap();
            device.set_len(1 << 20).unwrap();
            device.write_all_at(&MAGIC.to_le_bytes(), at).unwrap();
            let esp = only(&disks);
            assert!(through(&disks.root(), &esp, Access::Glance).is_ok());
            let why = through(&disks.root(), &esp, Access::Write).unwrap_err().to_string();
            assert!(why.contains("/dev/sda1") && why.contains("not assembled"), "{why}");
        }
    }

    #[test]
    fn what_another_mapping_holds_is_refused_by_name() {
        let disks = FakeDisks::new().partition("sda", 1, "", "").held("sda", 1, "dm-3", "254:3");
        let why = through(&disks.root(), &only(&disks), Access::Read).unwrap_err().to_string();
        assert!(why.contains("/dev/dm-3"), "{why}");
    }
}

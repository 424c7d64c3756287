//! A dm-verity tree that the machine makes itself, and the parts of an encrypted slot.

use crate::disk::area::Area;

/// The block size of `veritysetup format`'s default, for data and hashes alike.
const BLOCK: u64 = 4096;

/// SHA-256 hashes in one block of the tree.
const HASHES: u64 = BLOCK / 32;

/// The encrypted partition of a slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Luks {
    /// The partition itself, with its LUKS2 header.
    pub area: Area,
    /// The UUID in that header, in lower case.
    pub uuid: Option<String>,
}

/// Where the machine keeps the dm-verity tree of a slot that it makes itself, as Intel's Edge Microvisor Toolkit does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnTree {
    /// The device with the tree.
    pub hashes: Area,
    /// The file with its root hash.
    pub hash_file: HashFile,
}

/// The file with a slot's root hash, on a file system that both slots share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HashFile {
    /// The device with the ext4 file system.
    pub area: Area,
    /// The file's name at the top of it: `part_a_roothash`.
    pub name: String,
}

/// Bytes that the superblock and the tree of so many bytes of data take (cryptsetup, `docs/on-disk-format` of
/// dm-verity: a superblock in the first block, then the levels from the top).
#[must_use]
pub fn tree_size(data: u64) -> u64 {
    let mut level = data.div_ceil(BLOCK);
    let mut blocks = 1;
    while level > 1 {
        level = level.div_ceil(HASHES);
        blocks += level;
    }
    blocks * BLOCK
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_has_a_superblock_and_levels_of_128_hashes_a_block() {
        assert_eq!(tree_size(4096), 4096);
        assert_eq!(tree_size(2 * 4096), 2 * 4096);
        assert_eq!(tree_size(128 * 4096), 2 * 4096);
        assert_eq!(tree_size(129 * 4096), 4 * 4096);
        // As `veritysetup format` made it of 3 GiB: 6144 + 48 + 1 blocks, and the superblock.
        assert_eq!(tree_size(3 << 30), 6194 * 4096);
    }
}

//! The format of a hash tree as `veritysetup format` makes it by default (cryptsetup, `lib/verity/verity.c` and
//! `verity_hash.c`; Documentation/admin-guide/device-mapper/verity.rst). Pure.

use uuid::Uuid;

/// Bytes in a block of the data, and of the tree.
pub const BLOCK: usize = 4096;

/// Bytes in a digest.
pub const DIGEST: usize = 32;

/// Digests in a block of the tree.
pub const PER_BLOCK: u64 = (BLOCK / DIGEST) as u64;

/// Bytes in a salt.
pub const SALT: usize = 32;

/// One level of the tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Level {
    /// Its first block on the device.
    pub start: u64,
    /// How many blocks it has.
    pub blocks: u64,
}

/// A tree: its superblock, and where its levels are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Format {
    /// The UUID of the hash device.
    uuid: Uuid,
    /// What is hashed before each block.
    pub salt: [u8; SALT],
    /// Blocks of data.
    pub data_blocks: u64,
    /// From the digests of the data up to the single block below the root hash; none for one block of data, whose digest is
    /// the root hash itself.
    pub levels: Vec<Level>,
}

impl Format {
    /// The tree over the first `data_len` bytes, in whole blocks.
    #[must_use]
    pub fn new(data_len: u64, uuid: Uuid, salt: [u8; SALT]) -> Self {
        let data_blocks = data_len.div_ceil(BLOCK as u64);
        let (mut sizes, mut blocks) = (Vec::new(), data_blocks);
        while blocks > 1 {
            blocks = blocks.div_ceil(PER_BLOCK);
            sizes.push(blocks);
        }
        // The highest level lies first, behind the superblock (`hash_levels`).
        let mut start = 1;
        let mut levels: Vec<Level> = Vec::new();
        for blocks in sizes.into_iter().rev() {
            levels.push(Level { start, blocks });
            start += blocks;
        }
        levels.reverse();
        Self { uuid, salt, data_blocks, levels }
    }

    /// Bytes that it takes on the device, with the superblock.
    #[must_use]
    pub fn size(&self) -> u64 {
        let blocks: u64 = self.levels.iter().map(|level| level.blocks).sum();
        (1 + blocks) * BLOCK as u64
    }

    /// Bytes of data that it covers.
    #[must_use]
    pub fn data_len(&self) -> u64 {
        self.data_blocks * BLOCK as u64
    }

    /// The first block of the device (`struct verity_sb`).
    pub fn superblock(&self) -> Vec<u8> {
        let block_size = (BLOCK as u32).to_le_bytes();
        let fields: [(usize, &[u8]); 10] = [
            (0, b"verity\0\0"),
            // Version and hash type.
            (8, &1_u32.to_le_bytes()),
            (12, &1_u32.to_le_bytes()),
            (16, self.uuid.as_bytes()),
            (32, b"sha256"),
            (64, &block_size),
            (68, &block_size),
            (72, &self.data_blocks.to_le_bytes()),
            (80, &(SALT as u16).to_le_bytes()),
            (88, &self.salt),
        ];
        let mut block = vec![0; BLOCK];
        for (at, bytes) in fields {
            if let Some(field) = block.get_mut(at..at + bytes.len()) {
                field.copy_from_slice(bytes);
            }
        }
        block
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn levels(data_blocks: u64) -> Vec<(u64, u64)> {
        let format = Format::new(data_blocks * 4096, Uuid::nil(), [0; SALT]);
        format.levels.iter().map(|level| (level.start, level.blocks)).collect()
    }

    #[test]
    fn the_highest_level_lies_first() {
        assert_eq!(levels(1), []);
        assert_eq!(levels(2), [(1, 1)]);
        assert_eq!(levels(128), [(1, 1)]);
        assert_eq!(levels(129), [(2, 2), (1, 1)]);
        assert_eq!(levels(128 * 128), [(2, 128), (1, 1)]);
        assert_eq!(levels(128 * 128 + 1), [(4, 129), (2, 2), (1, 1)]);
    }

    #[test]
    fn a_block_begun_is_a_block() {
        let format = Format::new(4097, Uuid::nil(), [0; SALT]);
        assert_eq!((format.data_blocks, format.data_len(), format.size()), (2, 8192, 8192));
    }
}

//! The digests of blocks. Pure.

use ring::digest::{Context, SHA256};

use crate::disk::hash_tree::format::{BLOCK, DIGEST, SALT};
use crate::disk::pages::is_zero;

/// Computes salted digests.
pub struct Hasher {
    /// What every digest begins with.
    salted: Context,
    /// The digest of a block of zeros, the most frequent one.
    zeros: [u8; DIGEST],
}

impl Hasher {
    pub fn new(salt: &[u8; SALT]) -> Self {
        let mut salted = Context::new(&SHA256);
        salted.update(salt);
        let mut hasher = Self { salted, zeros: [0; DIGEST] };
        hasher.zeros = hasher.digest(&[0; BLOCK]);
        hasher
    }

    /// The digest of a block of zeros.
    pub fn zeros(&self) -> &[u8; DIGEST] {
        &self.zeros
    }

    /// Appends the digest of each block.
    pub fn append(&self, blocks: &[u8], to: &mut Vec<u8>) {
        for block in blocks.chunks(BLOCK) {
            to.extend(if is_zero(block) { self.zeros } else { self.digest(block) });
        }
    }

    fn digest(&self, block: &[u8]) -> [u8; DIGEST] {
        let mut context = self.salted.clone();
        context.update(block);
        let digest = context.finish();
        digest.as_ref().first_chunk().copied().unwrap_or_default()
    }
}

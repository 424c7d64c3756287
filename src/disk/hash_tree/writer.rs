//! Writing a hash tree while its data is written.

use std::collections::BTreeMap;
use std::mem;
use std::sync::{Mutex, MutexGuard};

use xxhash_rust::xxh3::xxh3_64;

use crate::disk::direct::{Block, DirectFile};
use crate::disk::hash_tree::format::{BLOCK, DIGEST, Format, Level, PER_BLOCK};
use crate::disk::hash_tree::hasher::Hasher;
use abide_core::error::{Error, OrError, Result};
use abide_core::hex;

/// Bytes of the lowest level that are written at once: the digests of 32 MiB of data.
const CHUNK: usize = 256 * 1024;

/// Digests in a chunk.
const PER_CHUNK: u64 = (CHUNK / DIGEST) as u64;

/// A tree that is being made. The digests of the data arrive in any order, from any thread. Those of the lowest
/// level are written as soon as a chunk of them is complete; what stays in memory is 1/16384 of the size of the data.
pub struct HashTree<'a> {
    device: &'a DirectFile,
    format: Format,
    hasher: Hasher,
    parts: Mutex<Parts>,
}

/// What is not on the device yet.
struct Parts {
    /// Incomplete chunks of the lowest level.
    chunks: BTreeMap<u64, Chunk>,
    /// Chunks that are still to come, the incomplete ones included.
    missing: u64,
    /// The digests of the lowest level's blocks.
    parents: Vec<u8>,
    written: Vec<WrittenPart>,
}

struct Chunk {
    digests: Block,
    /// How many are still to come.
    missing: u64,
}

/// What was written, to be read back.
struct WrittenPart {
    offset: u64,
    len: usize,
    hash: u64,
}

impl<'a> HashTree<'a> {
    /// A tree on `device`.
    ///
    /// # Errors
    /// [`Error::Refused`] if there is nothing to hash.
    pub fn new(device: &'a DirectFile, format: Format) -> Result<Self> {
        if format.data_blocks == 0 {
            return Err(Error::Refused("the image's root is empty".into()));
        }
        let parents = format.levels.first().map_or(0, |lowest| lowest.blocks) * DIGEST as u64;
        let parents = usize::try_from(parents).or_failed(|| "the root is too large for a hash tree")?;
        let parts = Parts {
            chunks: BTreeMap::new(),
            missing: format.data_blocks.div_ceil(PER_CHUNK),
            parents: vec![0; parents],
            written: Vec::new(),
        };
        Ok(Self { hasher: Hasher::new(&format.salt), device, format, parts: Mutex::new(parts) })
    }

    /// Adds the data at `offset`, both in whole blocks. What lies behind the end of the tree's data is left out.
    ///
    /// # Errors
    /// [`Error::Image`] if the device cannot be written.
    pub fn add(&self, offset: u64, data: &[u8]) -> Result<()> {
        let data = data.get(..self.within(offset, data.len() as u64)).unwrap_or_default();
        let mut digests = Vec::with_capacity(data.len().div_ceil(BLOCK) * DIGEST);
        self.hasher.append(data, &mut digests);
        self.place(offset / BLOCK as u64, (digests.len() / DIGEST) as u64, |to, done| {
            let from = digests.get(done..).unwrap_or_default();
            let count = to.len().min(from.len());
            to.split_at_mut(count).0.copy_from_slice(from.split_at(count).0);
        })
    }

    /// Adds zeros: `len` bytes at `offset`.
    ///
    /// # Errors
    /// As [`HashTree::add`].
    pub fn add_zeros(&self, offset: u64, len: u64) -> Result<()> {
        let blocks = (self.within(offset, len) / BLOCK) as u64;
        self.place(offset / BLOCK as u64, blocks, |to, _| {
            to.chunks_exact_mut(DIGEST).for_each(|digest| digest.copy_from_slice(self.hasher.zeros()));
        })
    }

    /// Writes the rest of the tree, flushes it and reads all of it back. Returns the root hash, as hexadecimal digits.
    ///
    /// # Errors
    /// [`Error::Image`] if the device cannot be read or written or data is missing, [`Error::Unverified`] if something reads
    /// back differently.
    pub fn finish(self) -> Result<String> {
        let (mut digests, missing) = {
            let mut parts = self.parts()?;
            (mem::take(&mut parts.parents), parts.missing)
        };
        if missing > 0 {
            return Err(Error::Image(format!(
                "the image's root ends before byte {}, where its file system ends",
                self.format.data_len()
            )));
        }
        for level in self.format.levels.iter().skip(1) {
            digests = self.write_level(*level, &digests)?;
        }
        self.write(0, aligned(&self.format.superblock(), BLOCK).get(BLOCK))?;
        self.read_back()?;
        // Of a single block of data, the only digest was kept in the place of a parent.
        Ok(hex::encode(digests.get(..DIGEST).unwrap_or_default()))
    }

    /// How many of `len` bytes at `offset` belong to the data.
    fn within(&self, offset: u64, len: u64) -> usize {
        usize::try_from(self.format.data_len().saturating_sub(offset).min(len)).unwrap_or(usize::MAX)
    }

    fn parts(&self) -> Result<MutexGuard<'_, Parts>> {
        self.parts.lock().map_err(|_| Error::Failed("a writing thread has panicked".into()))
    }

    /// Places `count` digests from the one of block `first` on. `fill` gets each part's place, and how many bytes came
    /// before it.
    fn place(&self, first: u64, count: u64, fill: impl Fn(&mut [u8], usize)) -> Result<()> {
        let (mut block, end) = (first, first + count);
        while block < end {
            let index = block / PER_CHUNK;
            let chunk_end = ((index + 1) * PER_CHUNK).min(self.format.data_blocks);
            let next = chunk_end.min(end);
            let complete = {
                let mut parts = self.parts()?;
                let chunk = parts.chunks.entry(index).or_insert_with(|| Chunk {
                    digests: Block::new(CHUNK),
                    missing: chunk_end - index * PER_CHUNK,
                });
                let bytes = |blocks: u64| usize::try_from(blocks).unwrap_or(CHUNK) * DIGEST;
                let place = bytes(block - index * PER_CHUNK)..bytes(next - index * PER_CHUNK);
                fill(chunk.digests.get_mut(CHUNK).get_mut(place).unwrap_or_default(), bytes(block - first));
                chunk.missing = chunk.missing.saturating_sub(next - block);
                if chunk.missing == 0 { parts.chunks.remove(&index) } else { None }
            };
            if let Some(chunk) = complete {
                self.write_chunk(index, chunk_end - index * PER_CHUNK, &chunk.digests)?;
            }
            block = next;
        }
        Ok(())
    }

    /// Writes a chunk with this many digests, and keeps the digests of its blocks.
    fn write_chunk(&self, index: u64, digests: u64, chunk: &Block) -> Result<()> {
        let Some(lowest) = self.format.levels.first() else {
            let mut parts = self.parts()?;
            parts.parents = chunk.get(DIGEST).to_vec();
            parts.missing = 0;
            return Ok(());
        };
        let len = usize::try_from(digests.div_ceil(PER_BLOCK)).unwrap_or(CHUNK) * BLOCK;
        let bytes = chunk.get(len);
        let mut parents = Vec::with_capacity(len / BLOCK * DIGEST);
        self.hasher.append(bytes, &mut parents);
        self.write(lowest.start * BLOCK as u64 + index * CHUNK as u64, bytes)?;
        let mut parts = self.parts()?;
        let at = usize::try_from(index).unwrap_or(usize::MAX).saturating_mul(CHUNK / BLOCK * DIGEST);
        if let Some(place) = parts.parents.get_mut(at..at.saturating_add(parents.len())) {
            place.copy_from_slice(&parents);
        }
        parts.missing = parts.missing.saturating_sub(1);
        Ok(())
    }

    /// Writes the level that holds these digests. Returns the digests of its blocks.
    fn write_level(&self, level: Level, digests: &[u8]) -> Result<Vec<u8>> {
        let mut parents = Vec::with_capacity(digests.len().div_ceil(BLOCK) * DIGEST);
        let mut offset = level.start * BLOCK as u64;
        for part in digests.chunks(CHUNK) {
            let len = part.len().next_multiple_of(BLOCK);
            let blocks = aligned(part, len);
            self.hasher.append(blocks.get(len), &mut parents);
            self.write(offset, blocks.get(len))?;
            offset += len as u64;
        }
        Ok(parents)
    }

    fn write(&self, offset: u64, bytes: &[u8]) -> Result<()> {
        self.device.write_at(bytes, offset).or_image(|| self.cannot("write", offset))?;
        self.parts()?.written.push(WrittenPart { offset, len: bytes.len(), hash: xxh3_64(bytes) });
        Ok(())
    }

    fn read_back(&self) -> Result<()> {
        self.device.flush().and_then(|()| self.device.drop_cache()).or_image(|| self.cannot("flush", 0))?;
        let written = mem::take(&mut self.parts()?.written);
        let mut block = Block::new(CHUNK);
        for WrittenPart { offset, len, hash } in written {
            let bytes = block.get_mut(len);
            self.device.read_at(bytes, offset).or_image(|| self.cannot("read back", offset))?;
            if xxh3_64(bytes) != hash {
                return Err(Error::Unverified(format!(
                    "{}: the data read back at byte {offset} differs from what was written; the disk is failing",
                    self.device.path().display()
                )));
            }
        }
        Ok(())
    }

    fn cannot(&self, what: &str, offset: u64) -> String {
        format!("{}: cannot {what} at byte {offset}", self.device.path().display())
    }
}

/// `bytes` with zeros behind them, as direct I/O requires.
fn aligned(bytes: &[u8], len: usize) -> Block {
    let mut block = Block::new(len.max(bytes.len()));
    block.get_mut(bytes.len()).copy_from_slice(bytes);
    block
}

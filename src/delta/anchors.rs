//! Finds the parts of an old root that a region of a new one resembles.
//!
//! The old root is cut into chunks at fixed offsets; a rolling hash finds them at any offset of the region. So a
//! file that has moved is found, also by a distance that is not a whole block.

use std::collections::BTreeMap;
use std::io;

use crate::delta::patch::{MAX_OLD, Range};

/// The smallest chunk in bytes.
const CHUNK: usize = 512;

/// The most chunks of a root: larger roots have larger chunks, so that the index has a bounded size.
const MAX_CHUNKS: u64 = 8 << 20;

/// Old bytes are taken in blocks of this size.
const BLOCK: u64 = 64 << 10;

/// The factor of the rolling hash: odd, otherwise arbitrary.
const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;

/// An index of the chunks of an old root.
pub struct Anchors {
    chunk: usize,
    old_len: u64,
    /// Whether a chunk with such a hash may exist; most lookups end here.
    filter: Vec<u64>,
    /// Open addressing: the upper half of the hash, and the number of the chunk plus one. 0: free.
    table: Vec<(u32, u32)>,
}

impl Anchors {
    /// Indexes the old root of `len` bytes. `read_at` fills a buffer from an offset.
    ///
    /// # Errors
    /// Those of `read_at`.
    pub fn index(len: u64, mut read_at: impl FnMut(&mut [u8], u64) -> io::Result<()>) -> io::Result<Self> {
        let mut chunk = CHUNK;
        while len / chunk as u64 > MAX_CHUNKS {
            chunk *= 2;
        }
        let count = usize::try_from(len / chunk as u64).unwrap_or(usize::MAX).max(1);
        let slots = (count * 2).next_power_of_two();
        let mut anchors = Self {
            chunk,
            old_len: len,
            filter: vec![0; (count * 16).next_power_of_two() / 64 + 1],
            table: vec![(0, 0); slots],
        };
        let mut buffer = vec![0; 1 << 20];
        let mut offset = 0;
        while offset < len {
            let size = usize::try_from(len - offset).unwrap_or(usize::MAX).min(buffer.len());
            let part = buffer.get_mut(..size).unwrap_or_default();
            read_at(part, offset)?;
            for (number, bytes) in part.chunks_exact(chunk).enumerate() {
                anchors.add(bytes, offset / chunk as u64 + number as u64);
            }
            offset += size as u64;
        }
        Ok(anchors)
    }

    fn add(&mut self, bytes: &[u8], number: u64) {
        let Some(first) = bytes.first() else { return };
        // A chunk of one value is everywhere and says nothing.
        if bytes.iter().all(|byte| byte == first) {
            return;
        }
        let hash = mixed(hash_of(bytes));
        let Ok(entry) = u32::try_from(number + 1) else { return };
        let mask = self.table.len() - 1;
        let mut slot = low(hash) & mask;
        while let Some(found) = self.table.get_mut(slot) {
            if found.1 == 0 {
                *found = (high(hash), entry);
                break;
            }
            // Of equal chunks the first counts.
            if found.0 == high(hash) {
                return;
            }
            slot = (slot + 1) & mask;
        }
        let (word, bit) = self.filter_bit(hash);
        if let Some(word) = self.filter.get_mut(word) {
            *word |= bit;
        }
    }

    fn filter_bit(&self, hash: u64) -> (usize, u64) {
        let bits = (self.filter.len() - 1) * 64;
        let bit = low(hash >> 20) & bits.saturating_sub(1);
        (bit / 64, 1 << (bit % 64))
    }

    /// The offset of the old chunk with this hash, if there is one.
    fn find(&self, hash: u64) -> Option<u64> {
        let (word, bit) = self.filter_bit(hash);
        if self.filter.get(word)? & bit == 0 {
            return None;
        }
        let mask = self.table.len() - 1;
        let mut slot = low(hash) & mask;
        loop {
            match self.table.get(slot)? {
                (_, 0) => return None,
                (tag, entry) if *tag == high(hash) => return Some(u64::from(entry - 1) * self.chunk as u64),
                _ => slot = (slot + 1) & mask,
            }
        }
    }

    /// Where chunks of the old root are in `region`: pairs of an offset in the region and one in the old root.
    fn hits(&self, region: &[u8]) -> Vec<(u64, u64)> {
        let mut hits = Vec::new();
        let Some(first) = region.get(..self.chunk) else { return hits };
        let oldest = (1..self.chunk).fold(1_u64, |factor, _| factor.wrapping_mul(FACTOR));
        let mut hash = hash_of(first);
        let mut at = 0;
        loop {
            if let Some(old) = self.find(mixed(hash)) {
                hits.push((at as u64, old));
                at += self.chunk;
                let Some(next) = region.get(at..at + self.chunk) else { return hits };
                hash = hash_of(next);
                continue;
            }
            let (Some(out), Some(new)) = (region.get(at), region.get(at + self.chunk)) else { return hits };
            hash = push(hash.wrapping_sub(u64::from(*out).wrapping_add(1).wrapping_mul(oldest)), *new);
            at += 1;
        }
    }

    /// The ranges of the old root that `region`, which begins at `offset` of the new root, resembles most: at most
    /// [`MAX_OLD`] bytes, in order, none overlapping. None if it has no chunk of the old root.
    #[must_use]
    pub fn ranges(&self, region: &[u8], offset: u64) -> Vec<Range> {
        let mut votes: BTreeMap<u64, u64> = BTreeMap::new();
        for (_, old) in self.hits(region) {
            *votes.entry(old / BLOCK).or_default() += 2;
        }
        if votes.is_empty() {
            return Vec::new();
        }
        // What lies beside such blocks, and at the same place, may be similar in less than a chunk.
        let found: Vec<u64> = votes.keys().copied().collect();
        for block in found {
            for beside in [block.checked_sub(1), Some(block + 1)].into_iter().flatten() {
                votes.entry(beside).or_insert(1);
            }
        }
        for block in offset / BLOCK..(offset + region.len() as u64).div_ceil(BLOCK) {
            votes.entry(block).or_insert(1);
        }
        let mut blocks: Vec<(u64, u64)> =
            votes.into_iter().filter(|(block, _)| block * BLOCK < self.old_len).collect();
        blocks.sort_by_key(|(block, votes)| (u64::MAX - votes, *block));
        blocks.truncate(MAX_OLD / BLOCK as usize);
        blocks.sort_unstable();
        let mut ranges: Vec<Range> = Vec::new();
        for (block, _) in blocks {
            let start = block * BLOCK;
            let len = (self.old_len - start).min(BLOCK) as u32;
            match ranges.last_mut() {
                Some(last) if last.end() == start => last.len += len,
                _ => ranges.push(Range { offset: start, len }),
            }
        }
        ranges
    }

    /// Where in the old root all of `region` may be, if it is there as a whole.
    #[must_use]
    pub fn whole(&self, region: &[u8]) -> Option<u64> {
        let hits = self.hits(region.get(..(16 * self.chunk).min(region.len()))?);
        let starts = hits.into_iter().filter_map(|(at, old)| old.checked_sub(at));
        starts.into_iter().find(|start| start + region.len() as u64 <= self.old_len)
    }
}

/// As if its bytes were pushed one by one; four at once take a quarter of the time. The length of a chunk is a multiple of that.
fn hash_of(chunk: &[u8]) -> u64 {
    const SQUARE: u64 = FACTOR.wrapping_mul(FACTOR);
    chunk.as_chunks::<4>().0.iter().fold(0, |hash: u64, [a, b, c, d]| {
        hash.wrapping_mul(SQUARE)
            .wrapping_add(push(push(0, *a), *b))
            .wrapping_mul(SQUARE)
            .wrapping_add(push(push(0, *c), *d))
    })
}

fn push(hash: u64, byte: u8) -> u64 {
    // Plus one, so that the number of zeros counts.
    hash.wrapping_mul(FACTOR).wrapping_add(u64::from(byte) + 1)
}

/// The upper bits of a sum of products depend on all bytes; the lower ones do not.
fn mixed(hash: u64) -> u64 {
    let hash = (hash ^ (hash >> 32)).wrapping_mul(0xd6e8_feb8_6659_fd93);
    hash ^ (hash >> 32)
}

fn high(hash: u64) -> u32 {
    (hash >> 32) as u32
}

#[expect(clippy::cast_possible_truncation, reason = "the lower bits are wanted")]
fn low(hash: u64) -> usize {
    hash as usize
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;

    fn noise(seed: u64, len: usize) -> Vec<u8> {
        let mut state = seed;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 56) as u8
        };
        (0..len).map(|_| next()).collect()
    }

    fn index(old: &[u8]) -> Anchors {
        Anchors::index(old.len() as u64, |to, at| {
            let at = usize::try_from(at).unwrap();
            to.copy_from_slice(&old[at..at + to.len()]);
            Ok(())
        })
        .unwrap()
    }

    fn covers(ranges: &[Range], start: u64, end: u64) -> bool {
        ranges.iter().any(|range| range.offset <= start && range.end() >= end)
    }

    #[test]
    fn what_has_moved_by_any_distance_is_found() {
        let old = noise(1, 4 << 20);
        let anchors = index(&old);
        let region = [&noise(2, 777)[..], &old[1_000_001..1_300_000]].concat();
        let ranges = anchors.ranges(&region, 3 << 20);
        assert!(covers(&ranges, 1_000_001, 1_300_000), "{ranges:?}");
        assert!(covers(&ranges, 3 << 20, (3 << 20) + 300_000), "{ranges:?}");
        assert!(anchors.ranges(&noise(3, 300_000), 0).is_empty());
    }

    #[test]
    fn a_region_that_was_there_is_found_as_a_whole() {
        let old = noise(1, 4 << 20);
        let anchors = index(&old);
        assert_eq!(anchors.whole(&old[70_000..(2 << 20) + 70_000]), Some(70_000));
        assert_eq!(anchors.whole(&noise(3, 2 << 20)), None);
        assert_eq!(anchors.whole(&[]), None);
    }

    #[test]
    fn the_ranges_are_bounded_and_inside_the_old_root() {
        let old = noise(1, (20 << 20) + 123);
        let anchors = index(&old);
        let everywhere: Vec<u8> =
            old.chunks(BLOCK as usize).flat_map(|block| block.iter().take(1024).copied()).collect();
        let ranges = anchors.ranges(&everywhere, (20 << 20) - 5);
        assert!(ranges.iter().map(|range| range.len as usize).sum::<usize>() <= MAX_OLD);
        assert!(ranges.windows(2).all(|pair| pair[0].end() < pair[1].offset));
        assert!(ranges.iter().all(|range| range.end() <= old.len() as u64));
        assert!(index(&[]).ranges(&old[..2 << 20], 0).is_empty());
    }
}

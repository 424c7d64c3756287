//! The map of a root: the SHA-256 of each region, and its frame in the full file.

use crate::delta::digest::Digest;
use crate::delta::fields::Fields;
use crate::delta::frame::MAX_FRAME;

const MAGIC: &[u8; 8] = b"ABIDEMAP";
const VERSION: u32 = 1;

/// The size of a region in bytes, as publishers make them.
pub const REGION: usize = 2 << 20;

/// Bytes in front of the first region.
const HEAD: usize = 64;

/// Bytes of each region.
const ENTRY: usize = 44;

/// The smallest and the largest size of a region, in bytes.
const REGION_SIZES: std::ops::RangeInclusive<u32> = 64 << 10..=8 << 20;

/// The largest root, in bytes: its map has 11 MiB.
const MAX_LEN: u64 = 512 << 30;

/// A region of a root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Region {
    /// SHA-256 of its bytes.
    pub sha256: Digest,
    /// Where its frame begins in the full file, in bytes.
    pub offset: u64,
    /// The length of its frame in bytes.
    pub frame: u32,
}

/// A root, region by region.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Map {
    /// Bytes in each region but the last, which may be shorter.
    pub region_size: u32,
    /// Bytes of the root.
    pub len: u64,
    /// SHA-256 of the root.
    pub sha256: Digest,
    /// Bytes of the full file.
    pub full_len: u64,
    /// Its regions in order.
    pub regions: Vec<Region>,
}

impl Map {
    /// The upper bound of a map, in bytes.
    pub const MAX: u64 = HEAD as u64 + (MAX_LEN / (2 << 20)) * ENTRY as u64;

    /// The map as a file.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEAD + self.regions.len() * ENTRY);
        bytes.extend(MAGIC);
        bytes.extend(VERSION.to_le_bytes());
        bytes.extend(self.region_size.to_le_bytes());
        bytes.extend(self.len.to_le_bytes());
        bytes.extend(self.sha256);
        bytes.extend(self.full_len.to_le_bytes());
        for region in &self.regions {
            bytes.extend(region.sha256);
            bytes.extend(region.offset.to_le_bytes());
            bytes.extend(region.frame.to_le_bytes());
        }
        bytes
    }

    /// Reads a map.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        let mut fields = Fields(bytes);
        let mut head = || Some((fields.bytes::<8>()?, fields.u32()?, fields.u32()?, fields.u64()?));
        let (magic, version, region_size, len) = head().ok_or("is truncated")?;
        if magic != *MAGIC {
            return Err("is not a map".into());
        }
        if version != VERSION {
            return Err(format!("has version {version}, which this abide does not know"));
        }
        if !REGION_SIZES.contains(&region_size) || !region_size.is_power_of_two() {
            return Err(format!(
                "has regions of {region_size} bytes; expected a power of two from 64 KiB to 8 MiB"
            ));
        }
        if len > MAX_LEN {
            return Err(format!("is for a root of {len} bytes, more than {MAX_LEN}"));
        }
        let (sha256, full_len) = fields.digest().zip(fields.u64()).ok_or("is truncated")?;
        let count = len.div_ceil(u64::from(region_size));
        if fields.0.len() as u64 != count * ENTRY as u64 {
            return Err(format!("has another length than its {count} regions need"));
        }
        let mut regions = Vec::with_capacity(fields.0.len() / ENTRY);
        while let Some(region) = next(&mut fields) {
            regions.push(region);
        }
        let map = Self { region_size, len, sha256, full_len, regions };
        map.check_frames()?;
        Ok(map)
    }

    /// The frames must follow each other inside the full file.
    fn check_frames(&self) -> Result<(), String> {
        let mut end = 0;
        for (number, Region { offset, frame, .. }) in self.regions.iter().enumerate() {
            if *offset < end || *frame == 0 || *frame > MAX_FRAME {
                return Err(format!("has an invalid frame for region {number}"));
            }
            end = offset.saturating_add(u64::from(*frame));
        }
        if end > self.full_len { Err("has frames beyond the end of the full file".into()) } else { Ok(()) }
    }

    /// The bytes of a region.
    #[must_use]
    pub fn region_len(&self, number: usize) -> usize {
        let size = u64::from(self.region_size);
        let left = self.len.saturating_sub(number as u64 * size).min(size);
        usize::try_from(left).unwrap_or_default()
    }
}

fn next(fields: &mut Fields<'_>) -> Option<Region> {
    Some(Region { sha256: fields.digest()?, offset: fields.u64()?, frame: fields.u32()? })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;

    fn map() -> Map {
        let region = |n: u8| Region { sha256: [n; 32], offset: u64::from(n) * 100, frame: 90 };
        Map {
            region_size: 2 << 20,
            len: (4 << 20) + 5,
            sha256: [7; 32],
            full_len: 300,
            regions: (0..3).map(region).collect(),
        }
    }

    #[test]
    fn a_map_is_read_as_it_was_written() {
        let map = map();
        assert_eq!(Map::parse(&map.encode()).unwrap(), map);
        assert_eq!([0, 1, 2, 3].map(|n| map.region_len(n)), [2 << 20, 2 << 20, 5, 0]);
    }

    #[test]
    fn a_map_that_was_cut_or_does_not_fit_its_root_is_refused() {
        let bytes = map().encode();
        for len in 0..bytes.len() {
            assert!(Map::parse(&bytes[..len]).is_err(), "{len}");
        }
        for (at, value) in
            [(0, 0), (8, 2), (12, 1), (18, 0xff), (22, 0xff), (64 + 32, 201), (64 + 40, 0), (56, 1)]
        {
            let mut bytes = bytes.clone();
            bytes[at] = value;
            assert!(Map::parse(&bytes).is_err(), "{at}");
        }
    }
}

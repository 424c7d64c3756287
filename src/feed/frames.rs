//! Frames that were fetched of a full file: one after the other, each behind the number of its region.
//!
//! Neither the file nor who has written it is trusted: each region has the digest of the map, or is not there.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use crate::delta::{self, Map};

/// Bytes in front of a frame: the number of its region, little-endian.
pub const HEAD: u64 = 4;

/// The frames in a file.
#[derive(Debug)]
pub struct Frames {
    file: File,
    /// Where each region's frame begins.
    places: BTreeMap<usize, u64>,
    /// The end of the last complete frame.
    end: u64,
}

impl Frames {
    /// Finds the frames in a file, as far as they are complete.
    ///
    /// # Errors
    /// Those of reading it.
    pub fn find(file: File, map: &Map) -> io::Result<Self> {
        let len = file.metadata()?.len();
        let (mut places, mut end) = (BTreeMap::new(), 0);
        let mut number = [0; HEAD as usize];
        while end + HEAD <= len {
            file.read_exact_at(&mut number, end)?;
            let number = u32::from_le_bytes(number) as usize;
            let Some(region) = map.regions.get(number) else { break };
            let next = end + HEAD + u64::from(region.frame);
            if next > len {
                break;
            }
            places.insert(number, end + HEAD);
            end = next;
        }
        Ok(Self { file, places, end })
    }

    /// The region's bytes, verified; none if its frame is not here, or has others.
    #[must_use]
    pub fn region(&self, map: &Map, number: usize) -> Option<Vec<u8>> {
        let mut frame = vec![0; map.regions.get(number)?.frame as usize];
        self.file.read_exact_at(&mut frame, *self.places.get(&number)?).ok()?;
        unpacked(map, number, &frame).ok()
    }

    /// Adds the frame of a region, behind all others.
    ///
    /// # Errors
    /// Those of writing it.
    pub fn add(&mut self, number: usize, frame: &[u8]) -> io::Result<()> {
        let head = u32::try_from(number).map_err(io::Error::other)?.to_le_bytes();
        self.file.write_all_at(&[&head, frame].concat(), self.end)?;
        self.places.insert(number, self.end + HEAD);
        self.end += HEAD + frame.len() as u64;
        Ok(())
    }

    /// Removes what is behind the last complete frame; or everything.
    ///
    /// # Errors
    /// If the file cannot be truncated.
    pub fn cut(&mut self, everything: bool) -> io::Result<()> {
        if everything {
            self.places.clear();
            self.end = 0;
        }
        self.file.set_len(self.end)
    }

    /// Makes them durable.
    ///
    /// # Errors
    /// If the file cannot be flushed.
    pub fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }
}

/// The bytes of a region from its frame.
///
/// # Errors
/// Why they are not those of the map.
pub fn unpacked(map: &Map, number: usize, frame: &[u8]) -> Result<Vec<u8>, String> {
    let bytes = delta::unpack(frame, &[], map.region_len(number))?;
    let is_it = map.regions.get(number).is_some_and(|region| delta::digest(&bytes) == region.sha256);
    if is_it { Ok(bytes) } else { Err("has another SHA-256 than its map says".into()) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;
    use crate::delta::Region;

    /// Two regions, and their frames.
    fn two() -> (Map, [Vec<u8>; 2]) {
        let regions = [vec![1; 64 << 10], vec![2; 100]];
        let frames = [0, 1].map(|n: usize| delta::pack(&regions[n], &[], 3).unwrap());
        let region = |n: usize| Region {
            sha256: delta::digest(&regions[n]),
            offset: 0,
            frame: u32::try_from(frames[n].len()).unwrap(),
        };
        let len = (64 << 10) + 100;
        let map = Map {
            region_size: 64 << 10,
            len,
            sha256: [0; 32],
            full_len: 999,
            regions: vec![region(0), region(1)],
        };
        (map, frames)
    }

    #[test]
    fn frames_are_found_again_as_far_as_they_are_complete() {
        let (map, frames) = two();
        let file = || tempfile::tempfile().unwrap();
        let mut kept = Frames::find(file(), &map).unwrap();
        kept.add(1, &frames[1]).unwrap();
        kept.add(0, &frames[0]).unwrap();
        kept.file.write_all_at(&[1, 0, 0, 0, 9], kept.end).unwrap();
        let mut again = Frames::find(kept.file.try_clone().unwrap(), &map).unwrap();
        assert_eq!((again.end, again.places.len()), (kept.end, 2));
        assert_eq!(again.region(&map, 1).unwrap(), vec![2; 100]);
        assert_eq!(again.region(&map, 0).unwrap(), vec![1; 64 << 10]);
        again.cut(false).unwrap();
        assert_eq!(again.file.metadata().unwrap().len(), kept.end);
        again.cut(true).unwrap();
        assert_eq!(again.region(&map, 0), None);
    }

    #[test]
    fn a_frame_with_other_bytes_is_not_there() {
        let (map, frames) = two();
        let mut kept = Frames::find(tempfile::tempfile().unwrap(), &map).unwrap();
        kept.add(0, &frames[1]).unwrap();
        let mut changed = frames[1].clone();
        *changed.last_mut().unwrap() ^= 1;
        kept.add(1, &changed).unwrap();
        assert_eq!((kept.region(&map, 0), kept.region(&map, 1)), (None, None));
    }
}

//! Bytes that are nearly right.

/// Changes seeds at random, the same way for the same start.
#[derive(Debug, Clone)]
pub struct Mutator(pub u64);

/// Numbers at which sizes and counts go wrong.
const EDGES: [u64; 12] = [
    0,
    1,
    0x7f,
    0xff,
    0x7fff,
    0xffff,
    0x7fff_ffff,
    0xffff_ffff,
    0x1_0000_0000,
    0x7fff_ffff_ffff_ffff,
    0x8000_0000_0000_0000,
    u64::MAX,
];

impl Mutator {
    /// A number below `end`; 0 if that is 0 (SplitMix64).
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) >> 1).unwrap_or(0) % end.max(1)
    }

    /// One of the seeds, changed in one to five places.
    pub fn next(&mut self, seeds: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = seeds.get(self.below(seeds.len())).cloned().unwrap_or_default();
        for _ in 0..=self.below(5) {
            self.change(&mut bytes, seeds);
        }
        bytes
    }

    fn change(&mut self, bytes: &mut Vec<u8>, seeds: &[Vec<u8>]) {
        // What matters most stands at the front of nearly everything.
        let reach = if self.below(2) == 0 { bytes.len() } else { bytes.len().min(1024) };
        let at = self.below(reach);
        match self.below(8) {
            0 => bytes.truncate(at),
            1 => bytes.insert(at, self.below(256) as u8),
            2 => {
                let other = seeds.get(self.below(seeds.len())).cloned().unwrap_or_default();
                let from = self.below(other.len());
                let count = self.below((other.len() - from).min(256));
                bytes.splice(at..at, other.into_iter().skip(from).take(count));
            }
            3 => {
                let end = at + self.below((bytes.len() - at).min(64));
                bytes.drain(at..end);
            }
            4 => {
                let number = EDGES[self.below(EDGES.len())].to_le_bytes();
                let size = 1 << self.below(4);
                for (to, from) in bytes.iter_mut().skip(at).zip(number).take(size) {
                    *to = from;
                }
            }
            _ => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= 1 << self.below(8);
                }
            }
        }
    }
}

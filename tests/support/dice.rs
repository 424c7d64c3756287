//! A small generator of numbers: the same trees at every run, from a seed that is printed.

/// The generator; its state is the seed.
pub struct Dice(pub u64);

impl Dice {
    /// A number below `sides`.
    #[allow(clippy::unwrap_used)]
    pub fn roll(&mut self, sides: usize) -> usize {
        // Knuth's MMIX constants; the upper bits are the good ones.
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        usize::try_from(self.0 >> 33).unwrap() % sides
    }

    /// One of these.
    #[allow(clippy::indexing_slicing)]
    pub fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.roll(from.len())]
    }

    /// Whether something happens that happens `percent` times in a hundred.
    pub fn happens(&mut self, percent: usize) -> bool {
        self.roll(100) < percent
    }

    /// 1 to `most` of these parts in a row.
    pub fn words(&mut self, parts: &[&str], most: usize) -> String {
        (0..=self.roll(most)).map(|_| self.pick(parts)).collect()
    }
}

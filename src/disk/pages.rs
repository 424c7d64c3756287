//! Comparing blocks page by page. Pure.

use std::ops::Range;

use crate::disk::direct::ALIGN;

/// The shortest run of zeros that the device zeroes itself instead of a write, in bytes.
const ZERO_RUN: usize = 64 * 1024;

/// Whether two slices are equal. Some C libraries compare byte by byte.
pub fn same(a: &[u8], b: &[u8]) -> bool {
    let (words_a, words_b) = (a.chunks_exact(16), b.chunks_exact(16));
    a.len() == b.len()
        && words_a.remainder() == words_b.remainder()
        && words_a.zip(words_b).all(|(a, b)| word(a) == word(b))
}

/// Whether all bytes are zero.
pub fn is_zero(bytes: &[u8]) -> bool {
    let words = bytes.chunks_exact(16);
    words.remainder().iter().all(|b| *b == 0) && words.into_iter().all(|w| word(w) == 0)
}

fn word(bytes: &[u8]) -> u128 {
    bytes.try_into().map_or(0, u128::from_ne_bytes)
}

/// The ranges in which two blocks of equal length differ, in whole pages except at the end.
pub fn differing(new: &[u8], old: &[u8]) -> Vec<Range<usize>> {
    if same(new, old) {
        return Vec::new();
    }
    let mut ranges: Vec<Range<usize>> = Vec::new();
    for (page, (a, b)) in new.chunks(ALIGN).zip(old.chunks(ALIGN)).enumerate() {
        if !same(a, b) {
            let start = page * ALIGN;
            match ranges.last_mut() {
                Some(last) if last.end == start => last.end += a.len(),
                _ => ranges.push(start..start + a.len()),
            }
        }
    }
    ranges
}

/// Splits the data to write into runs of zeros and of other bytes.
pub fn runs(bytes: &[u8]) -> Vec<(Range<usize>, bool)> {
    let mut runs: Vec<(Range<usize>, bool)> = Vec::new();
    for (n, part) in bytes.chunks(ZERO_RUN).enumerate() {
        let (start, zero) = (n * ZERO_RUN, part.len().is_multiple_of(ALIGN) && is_zero(part));
        match runs.last_mut() {
            Some((last, was_zero)) if *was_zero == zero => last.end += part.len(),
            _ => runs.push((start..start + part.len(), zero)),
        }
    }
    runs
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;

    fn noise(len: usize) -> Vec<u8> {
        (0..len).map(|n| (n * n / 7 % 251) as u8 | 1).collect()
    }

    #[test]
    fn differing_pages_are_found_and_joined() {
        let old = noise(5 * ALIGN + 10);
        let mut new = old.clone();
        assert!(differing(&new, &old).is_empty());
        for at in [ALIGN, 2 * ALIGN + 1, 5 * ALIGN + 9] {
            new[at] ^= 1;
        }
        assert_eq!(differing(&new, &old), [ALIGN..3 * ALIGN, 5 * ALIGN..5 * ALIGN + 10]);
    }

    #[test]
    fn a_single_byte_makes_a_difference_wherever_it_is() {
        for len in [1, 15, 16, 17, 100] {
            let old = noise(len);
            assert!(same(&old, &old.clone()));
            for at in 0..len {
                let mut new = old.clone();
                new[at] ^= 0x80;
                assert!(!same(&new, &old), "{at} of {len}");
            }
            assert!(!same(&old, &old[1..]));
        }
    }

    #[test]
    fn zeros_are_told_from_nearly_zeros() {
        for len in [0, 1, 15, 16, 17, 4096, 4100] {
            assert!(is_zero(&vec![0; len]));
            for at in [0, len / 2, len.saturating_sub(1)] {
                let mut bytes = vec![0; len];
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = 1;
                    assert!(!is_zero(&bytes), "{at} of {len}");
                }
            }
        }
    }

    #[test]
    fn long_runs_of_zeros_are_set_apart() {
        let mut bytes = noise(5 * ZERO_RUN + ALIGN + 10);
        bytes[ZERO_RUN..3 * ZERO_RUN].fill(0);
        bytes[4 * ZERO_RUN..4 * ZERO_RUN + ALIGN].fill(0);
        bytes[5 * ZERO_RUN..].fill(0);
        let want = [(0..ZERO_RUN, false), (ZERO_RUN..3 * ZERO_RUN, true), (3 * ZERO_RUN..bytes.len(), false)];
        assert_eq!(runs(&bytes), want, "an odd end is written");
        assert_eq!(runs(&vec![0; ALIGN]), [(0..ALIGN, true)]);
        assert!(runs(&[]).is_empty());
    }
}

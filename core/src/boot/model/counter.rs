//! The boot counter in an entry's file name: `+LEFT-DONE`.

use std::fmt;

/// The largest LEFT or DONE that systemd-boot takes for a counter (its `int`).
pub const MAX: u32 = i32::MAX as u32;

/// How many tries an entry has left, and how many it has used
/// (Boot Loader Specification, automatic boot assessment).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Counter {
    /// Tries left; 0 means bad. At most [`MAX`].
    pub left: u32,
    /// Tries used. At most [`MAX`].
    pub done: u32,
}

impl Counter {
    /// Parses `LEFT` or `LEFT-DONE`, the text between the last `+` and the suffix.
    ///
    /// Leading zeros are read; anything else beside digits, or a number above [`MAX`], is not a counter.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (left, done) = match text.split_once('-') {
            Some((left, done)) => (number(left)?, number(done)?),
            None => (number(text)?, 0),
        };
        Some(Self { left, done })
    }

    /// The counter after the loader has booted the entry. It stays at 0 left, and DONE stops at [`MAX`].
    #[must_use]
    pub fn after_boot(self) -> Self {
        Self { left: self.left.saturating_sub(1), done: self.done.saturating_add(1).min(MAX) }
    }
}

/// As the loader writes it, unpadded: `+2-1`.
impl fmt::Display for Counter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "+{}-{}", self.left, self.done)
    }
}

fn number(digits: &str) -> Option<u32> {
    let plain = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    // The loader rejects a number beyond 64 bits, as one beyond its `int`.
    plain.then(|| digits.parse::<u64>().ok()).flatten()?.try_into().ok().filter(|n| *n <= MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn done_may_be_left_out() {
        assert_eq!(Counter::parse("3"), Some(Counter { left: 3, done: 0 }));
        assert_eq!(Counter::parse("2-1"), Some(Counter { left: 2, done: 1 }));
    }

    #[test]
    fn leading_zeros_are_read() {
        assert_eq!(Counter::parse("003-0001"), Some(Counter { left: 3, done: 1 }));
        assert_eq!(Counter::parse(&"0".repeat(40)), Some(Counter { left: 0, done: 0 }));
    }

    #[test]
    fn what_is_not_digits_is_no_counter() {
        for text in ["", "-1", "1-", "0x4", "1-0x3", "1-2-3", " 1", "+1", "1 ", "٣"] {
            assert_eq!(Counter::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn a_number_above_the_loaders_int_is_no_counter() {
        assert!(Counter::parse("2147483647-2147483647").is_some());
        for text in ["2147483648", "0-2147483648", "18446744073709551616", "99999999999999999999999"] {
            assert_eq!(Counter::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_boot_moves_one_try_from_left_to_done() {
        assert_eq!(Counter { left: 3, done: 0 }.after_boot(), Counter { left: 2, done: 1 });
        assert_eq!(Counter { left: 0, done: 3 }.after_boot(), Counter { left: 0, done: 4 });
        assert_eq!(Counter { left: 0, done: MAX }.after_boot(), Counter { left: 0, done: MAX });
    }
}

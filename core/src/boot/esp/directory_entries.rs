//! How many names a directory on FAT can hold so that a rename is one write.
//!
//! A rename adds the new name and removes the old one. Where both lie in one sector, the disk
//! does that at once or not at all; otherwise a power cut may leave both names of the file, or
//! neither. FAT takes the first gap that is large enough, so that few and short names
//! stay together in the first sector of their directory.

/// Bytes in a directory entry.
pub(super) const SIZE: usize = 32;
/// Directory entries in the smallest sector, 512 bytes.
pub const PER_SECTOR: usize = 16;
/// UTF-16 units of a long name in one directory entry.
pub(super) const UNITS: usize = 13;

/// The directory entries that a name takes: one for the short name, and those of the long one. Upper-case
/// 8.3 names take one alone; Abide uses none for boot entries.
#[must_use]
pub fn count(name: &str) -> usize {
    1 + name.encode_utf16().count().div_ceil(UNITS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_takes_one_entry_for_every_13_characters_and_one_more() {
        assert_eq!(count("edge_1.0.efi"), 2);
        assert_eq!(count("edge_1.0+3-0.efi"), 3);
        assert_eq!(count("abcdefghi.efi"), 2);
        assert_eq!(count("abcdefghij.efi"), 3);
    }
}

//! How many names a directory on FAT can hold so that a rename is one write.
//!
//! A rename adds the new name and removes the old one. Where both lie in one sector, the disk
//! does that at once or not at all; otherwise a power cut may leave both names of the file, or
//! neither. FAT takes the first gap that is large enough, so that few and short names
//! stay together in the first sector of their directory.

/// Bytes in a directory entry.
pub(super) const SIZE: usize = 32;
/// Directory entries in the smallest sector, 512 bytes.
pub(super) const PER_SECTOR: usize = 16;
/// `.` and `..`
const DOTS: usize = 2;
/// UTF-16 units of a long name in one directory entry.
pub(super) const UNITS: usize = 13;

/// Whether a directory with these names has room for `new` in its first sector. An estimate: removed
/// names may have left gaps that are too small one by one.
#[must_use]
pub fn has_room<'a>(names: impl IntoIterator<Item = &'a str>, new: &str) -> bool {
    DOTS + names.into_iter().map(count).sum::<usize>() + count(new) <= PER_SECTOR
}

/// The directory entries that a name takes: one for the short name, and those of the long one. Upper-case
/// 8.3 names take one alone; Abide uses none for boot entries.
pub(super) fn count(name: &str) -> usize {
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

    #[test]
    fn two_systems_and_a_staged_one_leave_room_for_a_rename() {
        assert!(has_room(["edge_1.0.efi", "edge_2.0.efi", "staged.uki"], "edge_3.0+3-0.efi"));
        assert!(has_room(
            ["emt_3.0.20250101.0400.efi", "emt_3.0.20250201.0400+3-0.efi"],
            "emt_3.0.20250201.0400.efi"
        ));
    }

    #[test]
    fn many_or_long_names_leave_no_room() {
        let long = "a-vendor-edge-microvisor-toolkit_3.0.20250101.0400+3-0.efi";
        assert!(!has_room([long, long], long));
        assert!(!has_room(["edge_1.0+0-0.efi"; 4], "edge_2.0+3-0.efi"));
    }
}

//! How many names a folder of a FAT file system can hold for a rename to be one write.
//!
//! A rename adds the new name and removes the old one. Where both lie in one sector, the disk
//! does that at once or not at all; else a power cut may leave both names for one file, or
//! neither. FAT takes the first gap that is large enough, so that few and short names
//! stay together in the folder's first sector.

/// Bytes in a slot.
pub(super) const SLOT: usize = 32;
/// Slots in the smallest sector, 512 bytes.
pub(super) const SLOTS: usize = 16;
/// `.` and `..`
const OWN: usize = 2;
/// UTF-16 units of a long name in one slot.
pub(super) const UNITS: usize = 13;

/// Whether the folder with these names has room for `new` in its first sector. An estimate: names that
/// went may have left gaps that are too small one by one.
#[must_use]
pub fn takes<'a>(names: impl IntoIterator<Item = &'a str>, new: &str) -> bool {
    OWN + names.into_iter().map(slots).sum::<usize>() + slots(new) <= SLOTS
}

/// The slots that a name takes: one for the short name, and the long one's. Upper-case names
/// of 8.3 take less; none of ours is one.
pub(super) fn slots(name: &str) -> usize {
    1 + name.encode_utf16().count().div_ceil(UNITS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_takes_a_slot_for_every_13_characters_and_one_more() {
        assert_eq!(slots("edge_1.0.efi"), 2);
        assert_eq!(slots("edge_1.0+3-0.efi"), 3);
        assert_eq!(slots("abcdefghi.efi"), 2);
        assert_eq!(slots("abcdefghij.efi"), 3);
    }

    #[test]
    fn two_systems_and_a_staged_one_leave_room_for_a_rename() {
        assert!(takes(["edge_1.0.efi", "edge_2.0.efi", "staged.uki"], "edge_3.0+3-0.efi"));
        assert!(takes(
            ["emt_3.0.20250101.0400.efi", "emt_3.0.20250201.0400+3-0.efi"],
            "emt_3.0.20250201.0400.efi"
        ));
    }

    #[test]
    fn many_or_long_names_do_not() {
        let long = "a-vendor-edge-microvisor-toolkit_3.0.20250101.0400+3-0.efi";
        assert!(!takes([long, long], long));
        assert!(!takes(["edge_1.0+0-0.efi"; 4], "edge_2.0+3-0.efi"));
    }
}

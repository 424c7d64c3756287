//! Whether a directory on the ESP has room for a rename in one write.

use abide_core::boot::esp::directory_entries::{PER_SECTOR, count};

/// The directory entries of `.` and `..`.
const DOTS: usize = 2;

/// Whether a directory with these names has room for `new` in its first sector. An estimate: removed
/// names may have left gaps that are each too small.
#[must_use]
pub fn has_room<'a>(names: impl IntoIterator<Item = &'a str>, new: &str) -> bool {
    DOTS + names.into_iter().map(count).sum::<usize>() + count(new) <= PER_SECTOR
}

#[cfg(test)]
mod tests {
    use super::*;

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

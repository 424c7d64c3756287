//! Boot entries with a wrong name or a wrong attribute.

use crate::doctor::finding::Finding;
use abide_core::boot::Entry;

pub(super) fn look(entries: &[Entry]) -> Vec<Finding> {
    duplicates(entries).into_iter().chain(read_only(entries)).collect()
}

/// `X.efi` and `X+3-0.efi` are one entry to the loader, even on two partitions.
fn duplicates(entries: &[Entry]) -> Vec<Finding> {
    let of_file: Vec<&Entry> = entries.iter().filter(|e| e.profile == 0).collect();
    let mut ids: Vec<String> = of_file.iter().map(|e| e.id()).collect();
    ids.sort_unstable();
    let mut twice: Vec<&String> =
        ids.windows(2).filter_map(|pair| (pair.first() == pair.last()).then(|| pair.first())?).collect();
    twice.dedup();
    twice
        .into_iter()
        .map(|id| {
            let places: Vec<String> = of_file
                .iter()
                .filter(|e| e.id() == *id)
                .map(|e| format!("{} on {}", e.path(), e.partition.as_str()))
                .collect();
            Finding::error("duplicate-entry", format!("the boot entry {id} exists more than once: {}", places.join(", ")))
                .because(
                    "which of them boots is undefined; a counted entry may replace the good one, and systemd never marks the \
                     counted entry as good",
                )
                .remedy("remove all but the one that belongs to the running system")
        })
        .collect()
}

fn read_only(entries: &[Entry]) -> Vec<Finding> {
    entries
        .iter()
        .filter(|e| e.read_only && e.profile == 0)
        .map(|e| {
            Finding::error("read-only-entry", format!("{} has FAT's read-only attribute", e.path()))
                .because("the boot loader cannot count its tries, and boots it again and again")
                .remedy(format!("make it writable: chmod u+w {}", e.path()))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use abide_core::boot::BootPartition;
    use abide_testing::entry::uki;

    #[test]
    fn the_same_id_with_and_without_a_counter_is_found_across_partitions() {
        let plain = uki("edge_1.0.efi", "1.0");
        let counted = uki("Edge_1.0+3-0.efi", "1.0");
        let elsewhere = Entry { partition: BootPartition::Xbootldr, ..plain.clone() };
        let other = uki("edge_2.0.efi", "2.0");
        for pair in [[plain.clone(), counted], [plain.clone(), elsewhere]] {
            let [a, b] = pair;
            let found = look(&[a, other.clone(), b]);
            assert_eq!(found.len(), 1);
            assert_eq!(found.first().unwrap().id, "duplicate-entry");
        }
        assert!(look(&[plain, other]).is_empty());
    }

    #[test]
    fn an_entry_that_cannot_be_counted_is_found() {
        let entry = Entry { read_only: true, ..uki("edge_1.0+3-0.efi", "1.0") };
        assert_eq!(look(&[entry]).first().unwrap().id, "read-only-entry");
    }
}

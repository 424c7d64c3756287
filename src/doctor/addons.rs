//! Addons that belong to no boot entry.

use crate::doctor::finding::Finding;
use abide_core::boot::esp::addons;
use abide_core::boot::{BootPartition, Entry};
use abide_core::update::Machine;

pub(super) fn read(machine: &Machine) -> Vec<Finding> {
    let of = |partition| addons::directories(machine.dirs.volume(partition).ok()?).ok();
    let all = [BootPartition::Esp, BootPartition::Xbootldr].into_iter().filter_map(of).flatten();
    look(&machine.entries, all)
}

/// Of these directories, each with the id of its entry, those without an entry.
fn look(entries: &[Entry], directories: impl Iterator<Item = (String, String)>) -> Vec<Finding> {
    let is_left = |(_, id): &(String, String)| !entries.iter().any(|entry| entry.name.id() == *id);
    let finding = |(dir, id): (String, String)| {
        Finding::warning("orphan-addons", format!("{dir} holds addons of {id}, which does not exist"))
            .because("they take space, and become a part of the next entry of that name if another tool installs it")
            .remedy(format!("remove {dir} from the ESP, if nothing else needs it"))
    };
    directories.filter(is_left).map(finding).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use abide_testing::entry::uki;

    #[test]
    fn addons_without_an_entry_are_found_and_others_are_not() {
        let dir = |name: &str, id: &str| (name.to_owned(), id.to_owned());
        let dirs = [dir("edge_1.0.efi.extra.d", "edge_1.0.efi"), dir("edge_0.9.efi.extra.d", "edge_0.9.efi")];
        let found = look(&[uki("edge_1.0+3-0.efi", "1.0")], dirs.into_iter());
        let what: Vec<&str> = found.iter().map(|finding| finding.what.as_str()).collect();
        assert_eq!(what, ["edge_0.9.efi.extra.d holds addons of edge_0.9.efi, which does not exist"]);
    }
}

//! Boot entries that boot another root than they should.

use crate::doctor::finding::{Finding, Severity};
use abide_core::boot::Entry;
use abide_core::boot::model::entry::EntryState;
use abide_core::disk::{RootArg, SlotName, Slots};
use abide_core::state::{Stage, State};
use abide_core::update::kept::is_kept;

pub(super) fn look(entries: &[Entry], slots: &Slots, state: &State, image: Option<&str>) -> Vec<Finding> {
    let bootable: Vec<&Entry> =
        entries.iter().filter(|e| e.state() != EntryState::Bad || is_kept(state, e)).collect();
    let mut found: Vec<Finding> = bootable.iter().filter_map(|e| nowhere(e, slots, image)).collect();
    found.extend(SlotName::ALL.into_iter().filter_map(|slot| shared(&bootable, slots, slot)));
    found.extend(not_its_own(entries, state));
    found
}

/// A root that is neither slot's.
fn nowhere(entry: &Entry, slots: &Slots, image: Option<&str>) -> Option<Finding> {
    let root = entry.options.as_deref().and_then(RootArg::parse)?;
    if matches!(root, RootArg::Other(_)) {
        return None;
    }
    let why = match (slots.a.is(&root), slots.b.is(&root)) {
        (true, false) | (false, true) => return None,
        (true, true) => "both slots match",
        (false, false) => "neither slot matches",
    };
    // Another system's entry, a rescue system for instance, may have its root anywhere.
    let severity = if entry.sort_key.as_deref() == image { Severity::Error } else { Severity::Warning };
    let found = Finding::warning("wrong-root", format!("{} boots {root}, but {why}", entry.path()));
    Some(
        Finding { severity, ..found }
            .because("a boot of this entry finds no root or the wrong one")
            .remedy(remedy(&root, slots)),
    )
}

fn remedy(root: &RootArg, slots: &Slots) -> &'static str {
    match root {
        // The entry may be the running one.
        RootArg::BootUuid(_) if slots.a.is(root) && slots.b.is(root) => {
            "give what the slot that does not run holds another UUID (`tune2fs -U random`, with encryption \
             `cryptsetup luksUUID`), and write an image into it"
        }
        RootArg::BootUuid(_) => {
            "remove the entry if it is not needed; one slot, and not the other, must hold what has this UUID"
        }
        _ => "remove the entry if it is not needed, or build the UKI with root=PARTUUID=… of its slot",
    }
}

/// Two entries for one slot: at most one of them matches the content of the slot.
fn shared(entries: &[&Entry], slots: &Slots, slot: SlotName) -> Option<Finding> {
    let of_slot =
        |e: &&&Entry| e.profile == 0 && e.options.as_deref().and_then(|o| slots.of_cmdline(o)) == Some(slot);
    let mut ids: Vec<String> = entries.iter().filter(of_slot).map(|e| e.id()).collect();
    ids.sort_unstable();
    ids.dedup();
    if ids.len() < 2 {
        return None;
    }
    Some(
        Finding::error("wrong-root", format!("{} all boot slot {slot}", ids.join(", ")))
            .because("at most one of them matches the system in that slot; the kernels of the others do not find their modules")
            .remedy("remove the entries that do not match the content of the slot"),
    )
}

/// The entry on trial must boot what was written.
fn not_its_own(entries: &[Entry], state: &State) -> Option<Finding> {
    let update = state.update.as_ref().filter(|u| matches!(u.stage, Stage::Applied | Stage::Testing))?;
    let written = RootArg::parse(&update.root)?;
    let entry = entries.iter().find(|e| e.id() == update.entry)?;
    let boots = entry.options.as_deref().and_then(RootArg::parse)?;
    (!boots.is_same(&written)).then(|| {
        Finding::error(
            "wrong-root",
            format!("{} boots {boots}, but the update was written to {written}", entry.path()),
        )
        .because("Abide would not recognise the trial")
        .remedy("write the update again")
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::path::PathBuf;

    use super::*;
    use abide_core::disk::{Layout, Slot};
    use abide_testing::entry::uki;

    fn slot(name: SlotName, uuid: &str) -> Slot {
        Slot {
            name,
            device: PathBuf::new(),
            node: format!("/dev/sd{name}"),
            label: format!("rootfs_{name}"),
            partuuid: Some(uuid.into()),
            fs_uuid: None,
            fs_label: None,
            size: 1,
            verity: None,
            verity_sig: None,
            boot_uuid: None,
            luks: None,
            own_tree: None,
        }
    }

    fn slots() -> Slots {
        Slots { a: slot(SlotName::A, "aa"), b: slot(SlotName::B, "bb"), layout: Layout::default() }
    }

    fn entry(file: &str, options: &str) -> Entry {
        Entry { options: Some(options.into()), ..uki(file, "1") }
    }

    fn severities(entries: &[Entry]) -> Vec<Severity> {
        look(entries, &slots(), &State::default(), Some("edge")).iter().map(|f| f.severity).collect()
    }

    #[test]
    fn each_slot_with_its_own_entry_is_as_it_should_be() {
        assert!(
            severities(&[entry("a.efi", "root=PARTUUID=aa"), entry("b+3-0.efi", "root=PARTUUID=bb")])
                .is_empty()
        );
    }

    #[test]
    fn a_root_that_is_neither_slot_is_an_error_for_an_entry_of_this_image() {
        let gone = entry("c.efi", "root=PARTUUID=cc");
        assert_eq!(severities(std::slice::from_ref(&gone)), [Severity::Error]);
        assert_eq!(severities(&[Entry { sort_key: Some("rescue".into()), ..gone }]), [Severity::Warning]);
        assert!(severities(&[entry("c+0-3.efi", "root=PARTUUID=cc")]).is_empty());
        assert!(severities(&[entry("memtest.efi", "quiet"), entry("live.efi", "root=tmpfs")]).is_empty());
    }

    #[test]
    fn two_entries_for_one_slot_are_an_error() {
        assert_eq!(
            severities(&[entry("a.efi", "root=PARTUUID=aa"), entry("b.efi", "root=PARTLABEL=rootfs_a")]),
            [Severity::Error]
        );
    }
}

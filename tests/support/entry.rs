//! Boot entries.

use abide_core::boot::model::entry::{BootPartition, Entry, EntryKind};
use abide_core::boot::model::name::EntryName;
use abide_core::disk::SlotName;
use abide_core::state::State;

/// The entry of a UKI of the image `edge`.
pub fn uki(file: &str, version: &str) -> Entry {
    Entry {
        name: EntryName::parse(file).unwrap(),
        partition: BootPartition::Esp,
        kind: EntryKind::Uki,
        title: Some(format!("Edge {version}")),
        sort_key: Some("edge".into()),
        machine_id: None,
        version: Some(version.into()),
        options: None,
        profile: 0,
        profile_id: None,
        image_version: None,
        unversioned: false,
        starts: None,
        read_only: false,
    }
}

/// Whether the state remembers the entry with this id as a committed system's.
pub fn is_remembered(state: &State, id: &str) -> bool {
    SlotName::ALL.into_iter().filter_map(|slot| state.installed(slot)).any(|kept| kept.entry == id)
}

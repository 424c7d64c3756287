//! Boot entries.

use abide_core::boot::model::entry::{BootPartition, Entry, EntryKind};
use abide_core::boot::model::name::EntryName;

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
        starts: None,
        read_only: false,
    }
}

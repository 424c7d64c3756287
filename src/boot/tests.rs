//! What the tests of this floor are made from.
#![allow(clippy::unwrap_used)]

use super::entry::{Entry, Kind, Partition, Starts};
use super::name::EntryName;

/// A UKI of the image `edge`.
pub(super) fn uki(file: &str, version: &str) -> Entry {
    Entry {
        name: EntryName::parse(file).unwrap(),
        partition: Partition::Esp,
        kind: Kind::Uki,
        title: Some(format!("Edge {version}")),
        sort_key: Some("edge".into()),
        machine_id: None,
        version: Some(version.into()),
        options: None,
        profile: 0,
        profile_id: None,
        read_only: false,
    }
}

/// A Type #1 entry that says nothing but what to start.
pub(super) fn conf(file: &str, starts: Starts) -> Entry {
    let name = EntryName::parse(file).unwrap();
    Entry { name, kind: Kind::Conf(starts), title: None, sort_key: None, version: None, ..uki("x.efi", "0") }
}

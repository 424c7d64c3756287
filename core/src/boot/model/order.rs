//! The order in which systemd-boot has its entries.

use std::cmp::Ordering;

use crate::boot::model::entry::{Entry, EntryKind, Starts};
use crate::boot::model::quirks::{IdStyle, Quirks};
use crate::boot::model::version;

/// The entries that this loader shows, in its order.
///
/// Equal ones (the same id with and without a counter) keep the order in which they were read. With
/// these the comparison is not a total order, so the result depends on the algorithm: it is the loader's
/// own, insertion from the end (252: `util.c`, 257 and 262: `util.c`, `sort_pointer_array`).
#[must_use]
pub fn order(entries: &[Entry], quirks: &Quirks) -> Vec<Entry> {
    let mut sorted: Vec<Entry> = Vec::with_capacity(entries.len());
    for entry in entries.iter().filter(|e| is_shown(e, quirks)) {
        let before = sorted.iter().rposition(|other| compare(other, entry, quirks).is_le());
        sorted.insert(before.map_or(0, |at| at + 1), entry.clone());
    }
    sorted
}

/// Whether this version shows the entry at all.
fn is_shown(entry: &Entry, quirks: &Quirks) -> bool {
    let auto = entry.name.file().get(..5).is_some_and(|start| start.eq_ignore_ascii_case("auto-"));
    let known = match entry.kind {
        EntryKind::Conf(Starts::Uki | Starts::UkiUrl) => quirks.conf_uki,
        EntryKind::Uki => quirks.profiles || entry.profile == 0,
        EntryKind::Conf(Starts::Linux | Starts::Efi) => true,
    };
    known && !(auto && quirks.auto_in_any_case)
}

/// Compares two entries; the lesser one comes first in the menu
/// (252: `config_entry_compare`; 257 and 262: `boot_entry_compare`).
#[must_use]
pub fn compare(a: &Entry, b: &Entry, quirks: &Quirks) -> Ordering {
    let bad = |e: &Entry| e.name.counter().is_some_and(|c| c.left == 0);
    bad(a)
        .cmp(&bad(b))
        .then_with(|| a.sort_key.is_none().cmp(&b.sort_key.is_none()))
        .then_with(|| compare_keyed(a, b, quirks))
        .then_with(|| version::compare(&sort_id(b, quirks), &sort_id(a, quirks)))
        .then_with(|| {
            // Both are profiles beyond the first; before 258 the first has no number here.
            let beyond = |e: &Entry| e.kind == EntryKind::Uki && e.profile > 0;
            if beyond(a) && beyond(b) { a.profile.cmp(&b.profile) } else { Ordering::Equal }
        })
        .then_with(|| match (a.name.counter(), b.name.counter()) {
            (Some(a), Some(b)) => b.left.cmp(&a.left).then(a.done.cmp(&b.done)),
            _ => Ordering::Equal,
        })
}

/// The part of the comparison for entries that both have a sort key.
fn compare_keyed(a: &Entry, b: &Entry, quirks: &Quirks) -> Ordering {
    if a.sort_key.is_none() || b.sort_key.is_none() {
        return Ordering::Equal;
    }
    let version = |e: &Entry| e.version.clone().unwrap_or_default();
    compare_text(a.sort_key.as_deref(), b.sort_key.as_deref())
        .then_with(|| compare_text(a.machine_id.as_deref(), b.machine_id.as_deref()))
        .then_with(|| version::compare(&version(b), &version(a)))
        .then_with(|| if quirks.profile_first { a.profile.cmp(&b.profile) } else { Ordering::Equal })
}

/// By UTF-16 units, as the loader holds its texts; a missing text comes first.
fn compare_text(a: Option<&str>, b: Option<&str>) -> Ordering {
    let units = |t: Option<&str>| t.map(|t| t.encode_utf16().collect::<Vec<_>>());
    units(a).cmp(&units(b))
}

/// The id that this version gives the entry; patterns are matched against it, and `LoaderEntrySelected`
/// holds it.
#[must_use]
pub fn loader_id(entry: &Entry, quirks: &Quirks) -> String {
    let file = entry.name.file().to_ascii_lowercase();
    let counted = entry.name.counter().is_some();
    // The text of the file name in front of the counter, with the suffix the loader itself writes.
    let stripped = || format!("{}{}", entry.name.stem(), entry.name.suffix().as_str());
    let base = match quirks.id {
        IdStyle::StrippedLate if counted => return stripped(),
        IdStyle::Stripped if counted && entry.kind == EntryKind::Uki => stripped(),
        IdStyle::Stripped if counted => stripped().to_ascii_lowercase(),
        _ => file,
    };
    match (&entry.profile_id, entry.profile) {
        _ if entry.kind != EntryKind::Uki => base,
        (_, 0) => base,
        (Some(id), _) if quirks.id == IdStyle::Stripped => format!("{base}@{id}"),
        (Some(id), _) => format!("{base}@{}", id.to_ascii_lowercase()),
        (None, n) => format!("{base}@{n}"),
    }
}

/// The id that the sort compares: the one without a profile.
fn sort_id(entry: &Entry, quirks: &Quirks) -> String {
    match entry.profile {
        0 => loader_id(entry, quirks),
        _ if entry.kind != EntryKind::Uki => loader_id(entry, quirks),
        // Up to 258 a profile remembers the whole file name here, with the counter.
        _ if quirks.id != IdStyle::Stripped => entry.name.file().to_ascii_lowercase(),
        _ => loader_id(&Entry { profile: 0, ..entry.clone() }, quirks),
    }
}

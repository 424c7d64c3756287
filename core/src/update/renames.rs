//! The renames that steer the loader, as steps.

use crate::boot::model::name::EntryName;
use crate::boot::{Counter, Entry};
use crate::state::Update;

use crate::update::step::Step;

/// More names of one entry are a case for a person.
const MOST_NAMES: u32 = 9;

/// The entry with this id. Where a rename was cut off, FAT may show both names of
/// one file: the plain one wins, then the one with fewer tries left, since every
/// rename of ours goes that way.
#[must_use]
pub fn find<'a>(entries: &'a [Entry], id: &str) -> Option<&'a Entry> {
    entries.iter().filter(|e| e.id() == id).min_by_key(|e| e.name.counter().map(|c| c.left))
}

/// The steps that leave the update's entry without tries; none if it has none. Every name of it
/// counts: where a rename was cut off, or on both partitions, there may be two. One whose name without tries
/// is taken gets the next one.
#[must_use]
pub fn mark_bad(update: &Update, entries: &[Entry]) -> Vec<Step> {
    let names = entries.iter().filter(|e| e.id() == update.entry);
    let armed = names.filter_map(|e| Some((e, e.name.counter().filter(|c| c.left > 0)?)));
    let is_taken = |e: &Entry, name: &EntryName| {
        entries.iter().any(|other| other.partition == e.partition && other.name == *name)
    };
    armed
        .filter_map(|(e, counter)| {
            let done = counter.done..=counter.done.saturating_add(MOST_NAMES);
            let mut bad = done.map(|done| e.name.with_counter(Some(Counter { done, ..counter.exhausted() })));
            bad.find(|bad| !is_taken(e, bad)).map(|bad| rename(e, bad.file()))
        })
        .collect()
}

/// The steps that give the system before a failed trial its plain name back.
#[must_use]
pub fn restore(update: &Update, entries: &[Entry]) -> Vec<Step> {
    let Some(previous) = update.previous.as_ref().filter(|p| p.demoted) else { return vec![] };
    match find(entries, &previous.entry) {
        Some(entry) if entry.name.counter().is_some() => {
            vec![rename(entry, &entry.name.plain().to_string())]
        }
        _ => vec![],
    }
}

/// The step that gives the entry of a system that is kept its plain name; none if it has it.
#[must_use]
pub fn keep(entry: &Entry) -> Option<Step> {
    entry.name.counter().map(|_| rename(entry, &entry.name.plain().to_string()))
}

/// The step that renames `entry` in its folder.
#[must_use]
pub fn rename(entry: &Entry, to: &str) -> Step {
    Step::Rename { partition: entry.partition, from: entry.path(), to: to.to_owned() }
}

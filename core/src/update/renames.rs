//! The renames that steer the loader, as steps.

use crate::boot::model::name::EntryName;
use crate::boot::{BootPartition, Counter, Entry};
use crate::state::{State, Update};

use crate::update::kept::is_kept;
use crate::update::step::Step;

/// More names of one entry are a case for a person.
const MOST_NAMES: u32 = 9;

/// The entry with this id. Where a rename was cut off, FAT may show both names of
/// one file: the plain one wins, then the one with fewer tries left, since every
/// rename of ours goes that way.
#[must_use]
pub fn find<'a>(entries: &'a [Entry], id: &str) -> Option<&'a Entry> {
    best(entries.iter().filter(|e| e.id() == id))
}

/// Of several names of one entry the one that counts: see [`find`].
#[must_use]
pub fn best<'a>(names: impl Iterator<Item = &'a Entry>) -> Option<&'a Entry> {
    names.min_by_key(|e| e.name.counter().map(|c| c.left))
}

/// The steps that leave the update's entry without tries; none if it has none. Every name of it
/// counts: where a rename was cut off, or on both partitions, there may be two, and where somebody blessed
/// what is given up, a plain one. One whose name without tries is taken gets the next one.
#[must_use]
pub fn mark_bad(update: &Update, entries: &[Entry]) -> Vec<Step> {
    let names = entries.iter().filter(|e| e.id() == update.entry);
    let mut taken: Vec<(BootPartition, EntryName)> =
        entries.iter().map(|e| (e.partition, e.name.clone())).collect();
    let mut steps = vec![];
    for entry in names {
        let used = match entry.name.counter() {
            Some(counter) if counter.left == 0 => continue,
            Some(counter) => counter.done,
            None => u32::try_from(update.boots.len()).unwrap_or(u32::MAX).max(1),
        };
        let bad = (used..=used.saturating_add(MOST_NAMES))
            .map(|done| (entry.partition, entry.name.with_counter(Some(Counter { left: 0, done }))))
            .find(|bad| !taken.contains(bad));
        if let Some(bad) = bad {
            steps.push(rename(entry, bad.1.file()));
            taken.push(bad);
        }
    }
    steps
}

/// The steps after which the loader boots the system before the update: the update's entry is marked bad, and the one
/// that stepped back for it gets its plain name back.
#[must_use]
pub fn step_back(update: &Update, entries: &[Entry]) -> Vec<Step> {
    mark_bad(update, entries).into_iter().chain(restore(update, entries)).collect()
}

/// The step that makes the loader count the tries again of an update that another tool has given a plain name,
/// in its first boot.
#[must_use]
pub fn count_again(update: &Update, entries: &[Entry]) -> Option<Step> {
    let entry = find(entries, &update.entry).filter(|entry| entry.name.counter().is_none())?;
    let counter = Counter { left: update.tries.saturating_sub(1), done: 1 };
    Some(rename(entry, entry.name.with_counter(Some(counter)).file()))
}

/// The steps that give the system before a failed trial its plain name back, from which it had stepped
/// back. One that somebody gave tries since is left alone.
#[must_use]
pub fn restore(update: &Update, entries: &[Entry]) -> Vec<Step> {
    let Some(previous) = update.previous.as_ref().filter(|p| p.demoted) else { return vec![] };
    match find(entries, &previous.entry) {
        Some(entry) if entry.name.counter().is_some_and(|c| c.left == 0) => {
            vec![rename(entry, &entry.name.plain().to_string())]
        }
        _ => vec![],
    }
}

/// The step that gives a kept system, which was tried again in vain and is not to blame, its plain name back. Where the
/// running one did not step back for it, it sorts first, and stays as it is: without tries, and remembered as good.
#[must_use]
pub fn put_back(update: &Update, state: &State, entries: &[Entry]) -> Option<Step> {
    update.previous.as_ref().filter(|previous| previous.demoted)?;
    let entry = find(entries, &update.entry).filter(|entry| is_kept(state, entry))?;
    entry.name.counter().filter(|counter| counter.left == 0)?;
    Some(rename(entry, &entry.name.plain().to_string()))
}

/// The step that renames `entry` in its folder.
#[must_use]
pub fn rename(entry: &Entry, to: &str) -> Step {
    Step::Rename { partition: entry.partition, from: entry.path(), to: to.to_owned() }
}

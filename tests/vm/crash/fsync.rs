//! A life as it would have been recorded if Abide had left out one `fsync` of a folder.

use std::fmt;

use abide_core::boot::model::entry::UKI_DIR;
use abide_core::boot::model::name::EntryName;
use abide_qemu::fat::{Fat, Item};
use abide_qemu::slots::ESP_START;
use abide_qemu::write_log::{Entry, Write};

use super::recorder::Recording;
use super::states::{Cut, rebuild};

/// A flush that made changes in the folder of the entries durable, and no file's data.
#[derive(Debug, Clone)]
pub struct Fsync {
    pub transition: usize,
    /// The flush's number.
    flush: usize,
    /// The numbers of the writes to the folder since the flush before.
    writes: Vec<usize>,
}

/// What became of a name in the folder of the entries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The names that were there before and not after, and the other way round.
    pub gone: Vec<String>,
    pub new: Vec<String>,
}

impl Change {
    /// Why losing it breaks no promise, if that is so; `after` are all names that are there once it has
    /// happened.
    ///
    /// Where a rename takes two writes, the first is flushed with the file, the second with the folder.
    pub fn harmless(&self, after: &[Item]) -> Option<&'static str> {
        let name = |name: &String| EntryName::parse(name);
        let is_wanted = |name: EntryName| name.counter().is_none_or(|counter| counter.left > 0);
        let stays = |gone: &EntryName| {
            let others = after.iter().filter_map(|item| EntryName::parse(&item.name));
            others.into_iter().any(|other| other.counter().is_none() && other.id() == gone.id())
        };
        let (gone, new) = (self.gone.iter().filter_map(name), self.new.iter().filter_map(name));
        if self.gone.is_empty() && !new.clone().any(is_wanted) {
            return Some("only a name that is not to boot is lost");
        }
        if self.new.is_empty() && gone.clone().all(|gone| stays(&gone)) {
            return Some("the name that it has got besides is good, and boots the same system");
        }
        None
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = |names: &[String]| if names.is_empty() { "nothing".into() } else { names.join(", ") };
        write!(f, "{} -> {}", names(&self.gone), names(&self.new))
    }
}

/// The names that a flush has made durable, and all names that were there then.
pub fn change(recording: &Recording, fsync: &Fsync) -> (Change, Vec<Item>) {
    let first = fsync.writes.first().copied().unwrap_or(fsync.flush);
    let list = |prefix: usize| {
        let cut = Cut { prefix, missing: vec![], torn: None, transition: fsync.transition, at_rest: false };
        Fat::open(&rebuild(recording, &cut), ESP_START).unwrap().list(UKI_DIR).unwrap()
    };
    let (before, after) = (list(first), list(fsync.flush));
    let without = |all: &[Item], others: &[Item]| -> Vec<String> {
        all.iter().filter(|item| !others.contains(item)).map(|item| item.name.clone()).collect()
    };
    (Change { gone: without(&before, &after), new: without(&after, &before) }, after)
}

/// All of them that Abide asked for.
pub fn of_the_entries_folder(recording: &Recording) -> Vec<Fsync> {
    let fat = Fat::open(&recording.disk, ESP_START).unwrap();
    let folder = fat.sectors_of_dir(UKI_DIR).unwrap();
    let above = fat.sectors_of_dir("EFI").unwrap();
    let is_folder = |write: &Write| folder.contains(&write.at);
    // The dirty bit in the boot sector, the counters beside it, the times of the folder itself.
    let is_aside = |write: &Write| write.at < ESP_START + 2 || above.contains(&write.at);
    let mut found = Vec::new();
    for (transition, what) in recording.transitions.iter().enumerate() {
        if !what.name.starts_with("abide") {
            continue;
        }
        let mut group = Vec::new();
        for index in what.entries.clone() {
            match &recording.entries[index] {
                Entry::Write(write) => group.push((index, write)),
                Entry::Flush => {
                    let of_names = group.iter().all(|(_, write)| is_folder(write) || is_aside(write));
                    let writes = group.drain(..).filter(|(_, write)| is_folder(write));
                    let writes: Vec<usize> = writes.map(|(index, _)| index).collect();
                    if of_names && !writes.is_empty() {
                        found.push(Fsync { transition, flush: index, writes });
                    }
                }
            }
        }
    }
    found
}

/// Without the `fsync` the folder stays in the page cache until the ESP is unmounted at the end of the
/// command, which writes it and does not flush.
pub fn left_out(recording: &Recording, fsync: &Fsync) -> Recording {
    let mut entries = recording.entries.clone();
    let nothing = Entry::Write(Write { at: 0, numbers: Vec::new(), durable: false });
    entries[fsync.flush] = nothing.clone();
    let (Some(first), end) = (fsync.writes.first(), recording.transitions[fsync.transition].entries.end)
    else {
        return Recording {
            never_torn: Vec::new(),
            disk: recording.disk.clone(),
            entries,
            transitions: recording.transitions.clone(),
        };
    };
    let late: Vec<Entry> =
        fsync.writes.iter().map(|index| std::mem::replace(&mut entries[*index], nothing.clone())).collect();
    // What is put off takes the place of the last of what comes after it, so that all keep their numbers.
    entries.splice(end..end, late.iter().cloned());
    let empty = |entry: &Entry| matches!(entry, Entry::Write(write) if write.numbers.is_empty());
    let mut left = late.len();
    let mut index = *first;
    while left > 0 {
        if empty(&entries[index]) {
            entries.remove(index);
            left -= 1;
        } else {
            index += 1;
        }
    }
    Recording {
        disk: recording.disk.clone(),
        entries,
        transitions: recording.transitions.clone(),
        never_torn: Vec::new(),
    }
}

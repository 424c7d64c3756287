//! A life as it would have been recorded if Abide had left out one `fsync` of a folder.

use abide::boot::entry::UKI_DIR;
use abide_qemu::fat::Fat;
use abide_qemu::slots::ESP_START;
use abide_qemu::write_log::{Entry, Write};

use super::life::Recording;

/// A flush that made changes in the folder of the entries durable, and no file's data.
#[derive(Debug, Clone)]
pub struct Fsync {
    pub transition: usize,
    /// The flush's number.
    flush: usize,
    /// The numbers of the writes to the folder since the flush before.
    writes: Vec<usize>,
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
    Recording { disk: recording.disk.clone(), entries, transitions: recording.transitions.clone() }
}

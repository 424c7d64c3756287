//! Who may access files without `src/files`, which follows no links, waits for no named pipe and reads within bounds.

use std::collections::BTreeSet;
use std::fs;

use crate::source::Source;
use crate::{none, rust_files, top};

/// What opens a file by its path.
const OPENERS: [&str; 9] = [
    "fs::write",
    "fs::read",
    "fs::read_to_string",
    "fs::copy",
    "File::create",
    "File::create_new",
    "File::open",
    "File::options",
    "OpenOptions::new",
];

/// The files that do so all the same, and what they open: nothing that a user other than root can have made.
const KNOWN: [(&str, &str); 30] = [
    ("src/cli/emt/support.rs", "the system's release file, and sysfs"),
    ("src/cli/emt/update.rs", "a file that the command line names"),
    ("src/cli/interrupt.rs", "/proc"),
    ("src/config/update/zone.rs", "the time zones of the system"),
    ("src/disk/direct.rs", "a device"),
    ("src/disk/direct_reader.rs", "a file that is open already"),
    ("src/disk/extent.rs", "a device"),
    ("src/disk/hash_file.rs", "a file system for root hashes, which root alone writes"),
    ("src/disk/header_lock.rs", "a device, and the lock files of cryptsetup, which root alone makes"),
    ("src/disk/luks2.rs", "a device"),
    ("src/disk/relabel.rs", "a device"),
    ("src/doctor/examine.rs", "/etc/fstab"),
    ("src/doctor/second_table.rs", "a device"),
    ("src/doctor/watchdog.rs", "sysfs"),
    ("src/events/event.rs", "/etc and /proc"),
    ("src/health/kinds/kernel.rs", "/dev/kmsg and /proc"),
    ("src/health/kinds/network/ping.rs", "/proc"),
    ("src/health/kinds/network/state.rs", "/proc and sysfs"),
    ("src/health/scripts.rs", "scripts that root runs"),
    ("src/image/source.rs", "an image that the command line names, which may be a named pipe"),
    ("src/image/spool.rs", "a file without a name"),
    ("src/image/trust/keys.rs", "keys in /etc and /usr"),
    ("src/machine_id.rs", "/etc/machine-id"),
    ("src/publish/folder.rs", "the publisher's own folder"),
    ("src/publish/metadata.rs", "the publisher's own folder"),
    ("src/publish/split.rs", "the publisher's own folder"),
    ("src/publish/release.rs", "the publisher's own folder"),
    ("src/publish/raw_file.rs", "the publisher's own folder"),
    ("src/secret.rs", "a new file in the folder of a unit that has just started"),
    ("src/update/write/regions.rs", "a device"),
];

#[test]
fn files_that_other_users_can_have_made_are_opened_in_one_place() {
    let mut found = BTreeSet::new();
    let mut wrong = vec![];
    for path in rust_files(&top().join("src")) {
        let name = path.strip_prefix(top()).unwrap().display().to_string();
        if name.starts_with("src/files/") || name.ends_with("tests.rs") {
            continue;
        }
        let source = Source::parse(&fs::read_to_string(&path).unwrap()).unwrap();
        for (words, line) in &source.mentions {
            let last = words.get(words.len().saturating_sub(2)..).unwrap_or_default().join("::");
            if !OPENERS.contains(&last.as_str()) {
                continue;
            }
            if !KNOWN.iter().any(|(known, _)| *known == name) {
                wrong.push(format!("{name}:{line}: `{last}`: src/files opens files safely"));
            }
            found.insert(name.clone());
        }
    }
    let gone = KNOWN.iter().filter(|(known, _)| !found.contains(*known));
    wrong.extend(gone.map(|(known, _)| format!("{known} opens no file: take it off the list")));
    none(&wrong);
}

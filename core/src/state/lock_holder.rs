//! Which process holds a lock, for messages.

use std::fmt;
use std::fs::{self, File, Metadata};
use std::os::unix::fs::MetadataExt;

use rustix::fs::{major, minor};

use crate::root::Root;

/// The locks of all processes (proc_locks(5)).
const LOCKS: &str = "/proc/locks";

/// A process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    pid: u32,
    name: Option<String>,
    uid: Option<u32>,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.name.as_ref().map(|name| format!("{name}, ")).unwrap_or_default();
        write!(f, "{name}process {}", self.pid)?;
        self.uid.map_or(Ok(()), |uid| write!(f, " of user {uid}"))
    }
}

/// The process that has locked the file with flock(2); `None` if there is none, or it is unknown.
#[must_use]
pub fn find(root: &Root, file: &File) -> Option<Holder> {
    let meta = file.metadata().ok()?;
    let pid = pid_of(root, &meta)??;
    let dir = root.path(format!("/proc/{pid}"));
    let name = fs::read_to_string(dir.join("comm")).ok().map(|name| visible(&name));
    Some(Holder { pid, name, uid: fs::metadata(dir).ok().map(|meta| meta.uid()) })
}

/// The process that has locked this file with flock(2), if one has; `None` if that is unknown.
#[must_use]
pub fn pid_of(root: &Root, meta: &Metadata) -> Option<Option<u32>> {
    let locks = fs::read_to_string(root.path(LOCKS)).ok()?;
    Some(pid(&locks, major(meta.dev()), minor(meta.dev()), meta.ino()))
}

/// Every process chooses its name.
fn visible(name: &str) -> String {
    name.chars().filter(|c| c.is_ascii_graphic()).collect()
}

/// The process in a line such as `1: FLOCK  ADVISORY  WRITE 412 00:1a:1234 0 EOF`. A process that waits has `->` after the
/// number.
fn pid(locks: &str, major: u32, minor: u32, inode: u64) -> Option<u32> {
    let file = format!("{major:02x}:{minor:02x}:{inode}");
    locks.lines().find_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            [_, "FLOCK", _, _, pid, locked, ..] if *locked == file => pid.parse().ok(),
            _ => None,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_holder_is_told_from_those_who_wait_and_from_other_kinds_of_locks() {
        let locks = "1: POSIX  ADVISORY  WRITE 7 00:1a:1234 0 EOF\n1: -> FLOCK  ADVISORY  WRITE 8 00:1a:1234 0 EOF\n\
                     2: FLOCK  ADVISORY  WRITE 9 00:1a:12345 0 EOF\n3: FLOCK  ADVISORY  READ 412 00:1a:1234 0 EOF\n";
        assert_eq!(pid(locks, 0, 26, 1234), Some(412));
        assert_eq!(pid(locks, 8, 26, 1234), None);
        assert_eq!(pid("", 0, 26, 1234), None);
    }

    #[test]
    fn a_message_names_what_is_known_of_the_holder() {
        let known = Holder { pid: 412, name: Some("sleep".into()), uid: Some(1000) };
        assert_eq!(known.to_string(), "sleep, process 412 of user 1000");
        assert_eq!(Holder { name: None, uid: None, ..known }.to_string(), "process 412");
    }
}

//! What runs on the machine and holds off its reboot.

use std::fs::File;
use std::io::ErrorKind;

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

use crate::config::update::Inhibit;
use crate::systemd::inhibitors;
use crate::systemd::inhibitors::Inhibitor;
use abide_core::root::Root;

/// A sentence for each thing that holds off the reboot now.
#[must_use]
pub fn look(root: &Root, rules: &Inhibit) -> Vec<String> {
    let mut found = vec![];
    if rules.systemd && root.is_live() {
        found.extend(inhibitors::list().iter().filter(|lock| lock.blocks_shutdown()).map(sentence));
    }
    for file in &rules.files {
        if root.path(file).exists() {
            found.push(format!("{file} is there"));
        }
    }
    for file in &rules.locks {
        match is_locked(root, file) {
            Ok(true) => found.push(format!("a running program holds a lock on {file}")),
            Ok(false) => {}
            // What cannot be looked at may be held.
            Err(e) => found.push(format!("{file} cannot be looked at ({e})")),
        }
    }
    found
}

fn sentence(lock: &Inhibitor) -> String {
    let Inhibitor { who, why, .. } = lock;
    if why.is_empty() {
        format!("{who} holds off a reboot")
    } else {
        format!("{who} holds off a reboot: {why}")
    }
}

/// Whether somebody holds a lock of flock(2) on the file; nobody does on one that is not there.
fn is_locked(root: &Root, file: &str) -> std::io::Result<bool> {
    let file = match File::open(root.path(file)) {
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(false),
        other => other?,
    };
    match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(_) => Ok(false),
        Err((_, Errno::EWOULDBLOCK)) => Ok(true),
        Err((_, e)) => Err(e.into()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::fs;

    #[test]
    fn files_and_locks_hold_off_a_reboot_while_they_are_there() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::at(dir.path());
        let rules = Inhibit { files: vec!["/busy".into()], locks: vec!["/job".into()], ..Inhibit::default() };
        assert!(look(&root, &rules).is_empty());
        fs::write(root.path("/busy"), "").unwrap();
        fs::write(root.path("/job"), "").unwrap();
        assert_eq!(look(&root, &rules), ["/busy is there"]);
        let held = Flock::lock(File::open(root.path("/job")).unwrap(), FlockArg::LockExclusive).unwrap();
        assert_eq!(look(&root, &rules), ["/busy is there", "a running program holds a lock on /job"]);
        drop(held);
        assert_eq!(look(&root, &rules), ["/busy is there"]);
    }
}

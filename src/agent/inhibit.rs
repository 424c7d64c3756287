//! Inhibitors: what runs on the machine and delays its reboot.

use std::io::ErrorKind;

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

use crate::config::update::Inhibit;
use crate::files::open_named;
use crate::systemd::inhibitors;
use crate::systemd::inhibitors::Inhibitor;
use abide_core::root::Root;

/// A sentence for each inhibitor that is active now.
#[must_use]
pub fn active(root: &Root, rules: &Inhibit) -> Vec<String> {
    let mut found = vec![];
    if rules.systemd && root.is_live() {
        found.extend(inhibitors::list().iter().filter(|lock| lock.blocks_shutdown()).map(sentence));
    }
    for file in &rules.files {
        if root.path(file).exists() {
            found.push(format!("{file} exists"));
        }
    }
    for file in &rules.locks {
        match is_locked(root, file) {
            Ok(true) => found.push(format!("a running program holds a lock on {file}")),
            Ok(false) => {}
            // If it cannot be checked, it may be locked.
            Err(e) => found.push(format!("cannot check the lock on {file} ({e})")),
        }
    }
    found
}

fn sentence(lock: &Inhibitor) -> String {
    let Inhibitor { who, why, .. } = lock;
    if why.is_empty() { format!("{who} delays a reboot") } else { format!("{who} delays a reboot: {why}") }
}

/// Whether a process holds a flock(2) lock on the file; a missing file is not locked.
fn is_locked(root: &Root, file: &str) -> std::io::Result<bool> {
    let file = match open_named(&root.path(file)) {
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
    use std::fs::{self, File};

    #[test]
    fn files_and_locks_delay_a_reboot_while_they_exist() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::at(dir.path());
        let rules = Inhibit { files: vec!["/busy".into()], locks: vec!["/job".into()], ..Inhibit::default() };
        assert!(active(&root, &rules).is_empty());
        fs::write(root.path("/busy"), "").unwrap();
        fs::write(root.path("/job"), "").unwrap();
        assert_eq!(active(&root, &rules), ["/busy exists"]);
        let held = Flock::lock(File::open(root.path("/job")).unwrap(), FlockArg::LockExclusive).unwrap();
        assert_eq!(active(&root, &rules), ["/busy exists", "a running program holds a lock on /job"]);
        drop(held);
        assert_eq!(active(&root, &rules), ["/busy exists"]);
        // Its owner may make it a named pipe.
        fs::remove_file(root.path("/job")).unwrap();
        nix::unistd::mkfifo(&root.path("/job"), nix::sys::stat::Mode::from_bits_truncate(0o666)).unwrap();
        assert_eq!(active(&root, &rules), ["/busy exists"]);
    }
}

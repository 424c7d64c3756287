//! What runs on the machine and holds off its reboot.

use std::fs::File;
use std::io::ErrorKind;
use std::process::Command;

use log::{info, warn};
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use serde::Deserialize;

use crate::config::update::Inhibit;
use abide_core::root::Root;

/// One of systemd's locks, as logind lists it (org.freedesktop.login1(5), `ListInhibitors`): what it is for,
/// who holds it, why, how, and by whose process.
type Lock = (String, String, String, String, u32, u32);

/// busctl's JSON form of an answer.
#[derive(Deserialize)]
struct Answer {
    data: (Vec<Lock>,),
}

/// A sentence for each thing that holds off the reboot now.
#[must_use]
pub fn look(root: &Root, rules: &Inhibit) -> Vec<String> {
    let mut found = vec![];
    if rules.systemd && root.is_live() {
        found.extend(locks().iter().filter(|lock| holds_off(lock)).map(sentence));
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

fn holds_off((what, _, _, mode, _, _): &Lock) -> bool {
    mode == "block" && what.split(':').any(|word| word == "shutdown")
}

fn sentence((_, who, why, ..): &Lock) -> String {
    match why.as_str() {
        "" => format!("{who} holds off a reboot"),
        why => format!("{who} holds off a reboot: {why}"),
    }
}

/// systemd's locks; none where logind does not run, as nobody can hold one there.
fn locks() -> Vec<Lock> {
    let words = [
        "--json=short",
        "call",
        "org.freedesktop.login1",
        "/org/freedesktop/login1",
        "org.freedesktop.login1.Manager",
        "ListInhibitors",
    ];
    match Command::new("busctl").args(words).output() {
        Ok(output) if output.status.success() => match parse(&output.stdout) {
            Ok(locks) => locks,
            Err(e) => {
                warn!("busctl: its answer is not understood: {e}; systemd's locks are passed over");
                vec![]
            }
        },
        Ok(output) => {
            info!("systemd's locks are not known: {}", String::from_utf8_lossy(&output.stderr).trim());
            vec![]
        }
        Err(e) => {
            info!("systemd's locks are not known: busctl: {e}");
            vec![]
        }
    }
}

fn parse(answer: &[u8]) -> serde_json::Result<Vec<Lock>> {
    serde_json::from_slice::<Answer>(answer).map(|answer| answer.data.0)
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
    fn only_locks_that_block_a_shutdown_hold_off_a_reboot() {
        let answer = br#"{"type":"a(ssssuu)","data":[[["sleep","NetworkManager","off","delay",0,7],
            ["sleep:shutdown","backup","it runs","block",0,8],["shutdown","unattended","","delay",0,9],
            ["idle","x","y","block",0,9],["shutdown","job","","block",0,9]]]}"#;
        let said: Vec<String> =
            parse(answer).unwrap().iter().filter(|lock| holds_off(lock)).map(sentence).collect();
        assert_eq!(said, ["backup holds off a reboot: it runs", "job holds off a reboot"]);
        assert!(parse(br#"{"type":"a(ssssuu)","data":[[]]}"#).unwrap().is_empty());
    }

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

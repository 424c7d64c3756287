//! logind's inhibitor locks (org.freedesktop.login1(5), `ListInhibitors`), by busctl(1).

use std::process::Command;

use log::{info, warn};
use serde::Deserialize;

use abide_core::text;

/// An inhibitor lock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inhibitor {
    /// What it inhibits, separated by colons: `shutdown`, `sleep`, …
    what: String,
    /// `block` or `delay`.
    mode: String,
    /// The program that holds it, as it calls itself.
    pub who: String,
    /// The reason that it gives; may be empty.
    pub why: String,
}

/// A lock as `ListInhibitors` gives it: what, who, why, mode, user, process.
type Row = (String, String, String, String, u32, u32);

/// A reply in busctl's JSON form.
#[derive(Deserialize)]
struct Reply {
    data: (Vec<Row>,),
}

impl Inhibitor {
    /// Whether no shutdown or reboot goes ahead while it is held.
    #[must_use]
    pub fn blocks_shutdown(&self) -> bool {
        self.mode == "block" && self.what.split(':').any(|word| word == "shutdown")
    }
}

/// The locks that are held; none where logind does not run, as no program can hold one there.
#[must_use]
pub fn list() -> Vec<Inhibitor> {
    let arguments = [
        "--json=short",
        "call",
        "org.freedesktop.login1",
        "/org/freedesktop/login1",
        "org.freedesktop.login1.Manager",
        "ListInhibitors",
    ];
    match Command::new("busctl").args(arguments).output() {
        Ok(output) if output.status.success() => parse(&output.stdout).unwrap_or_else(|e| {
            warn!("cannot parse busctl's reply: {e}; ignoring inhibitor locks");
            vec![]
        }),
        Ok(output) => {
            info!("cannot list inhibitor locks: {}", String::from_utf8_lossy(&output.stderr).trim());
            vec![]
        }
        Err(e) => {
            info!("cannot list inhibitor locks: busctl: {e}");
            vec![]
        }
    }
}

fn parse(reply: &[u8]) -> serde_json::Result<Vec<Inhibitor>> {
    let reply: Reply = serde_json::from_slice(reply)?;
    let inhibitor = |(what, who, why, mode, _, _): Row| {
        // Any user's program can hold a lock.
        Inhibitor { what, mode, who: text::line(&who), why: text::line(&why) }
    };
    Ok(reply.data.0.into_iter().map(inhibitor).collect())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;

    #[test]
    fn only_locks_in_mode_block_on_shutdown_block_a_shutdown() {
        let reply = br#"{"type":"a(ssssuu)","data":[[["sleep","NetworkManager","off","delay",0,7],
            ["sleep:shutdown","backup","it runs","block",0,8],["shutdown","unattended","","delay",0,9],
            ["idle","x","y","block",0,9],["shutdown","job","","block",0,9]]]}"#;
        let locks = parse(reply).unwrap();
        let blocking: Vec<&str> =
            locks.iter().filter(|lock| lock.blocks_shutdown()).map(|lock| lock.who.as_str()).collect();
        assert_eq!(blocking, ["backup", "job"]);
        assert!(parse(br#"{"type":"a(ssssuu)","data":[[]]}"#).unwrap().is_empty());
    }

    #[test]
    fn a_program_cannot_write_to_the_terminal_by_its_lock() {
        let reply = br#"{"data":[[["shutdown","\u001b[2Jjob\u202e","a\r\nabide: b\u0007","block",1000,7]]]}"#;
        let locks = parse(reply).unwrap();
        assert_eq!((locks[0].who.as_str(), locks[0].why.as_str()), ("job", "a abide: b"));
    }
}

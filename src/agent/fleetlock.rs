//! FleetLock: a server where machines queue for their reboot.
//!
//! The slot that it gives has no time limit. It is kept over the reboot and given back when the machine
//! has committed or gone back; one that dies keeps it, and so holds up the others until somebody looks.

use std::fs;
use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use log::{info, warn};
use serde::{Deserialize, Serialize};
use serde_json::json;
use ureq::Agent;

use crate::config::update::{FleetLock, IfAway};
use crate::http;
use crate::http::{Patience, Redirects};
use crate::machine_id;
use abide_core::config::duration;
use abide_core::error::{Error, OrError, Result};
use abide_core::root::Root;

/// Beside what was fetched; it belongs to whoever talks to servers.
const FILE: &str = "/var/lib/abide/feed/fleetlock.json";

/// For one request and its answer.
const LIMIT: Duration = Duration::from_secs(30);

/// No more of an answer is read.
const MOST_BYTES: u64 = 64 << 10;

/// How a sentence begins that says that the wait is over.
const NO_TURN: &str = "no turn to reboot";

/// What a server says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    /// Yes.
    Yes,
    /// No, and why: others come first, or it does not know the group.
    No(String),
    /// Nothing, or nothing that a FleetLock server would say.
    Away(String),
}

/// What is remembered of the queue. Times are seconds since 1970.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Queue {
    /// That a slot was asked for, and so may be ours; set before it is asked for.
    pub asked: bool,
    /// That the machine may be rebooted: it was given, or the server has been away for too long.
    pub ours: bool,
    /// By what the update is remembered that it was asked for.
    pub digest: String,
    /// Why the machine waits, in one sentence.
    pub why: Option<String>,
    /// Since when the server has been away while a slot was wanted.
    pub away: Option<i64>,
}

/// What follows from an answer to the wish for a slot for the update `digest`. Pure.
#[must_use]
pub fn judge(queue: &Queue, digest: &str, said: &Said, config: &FleetLock, now: i64) -> Queue {
    let next = Queue { asked: true, digest: digest.to_owned(), ours: false, why: None, away: None };
    match said {
        Said::Yes => Queue { ours: true, ..next },
        // Then there is nothing to give back.
        Said::No(why) => {
            Queue { asked: false, why: Some(format!("Waiting for its turn to reboot: {why}")), ..next }
        }
        Said::Away(why) => {
            // A clock that was set back begins the time anew rather than never to end it.
            let since = queue.away.filter(|since| *since <= now).unwrap_or(now);
            let is_over = now - since >= i64::try_from(config.patience.as_secs()).unwrap_or(i64::MAX);
            let patience = duration::format(config.patience);
            let (ours, why) = match (is_over, config.if_away) {
                (false, _) => (false, Some(format!("Waiting for its turn to reboot: no answer: {why}"))),
                (true, IfAway::Reboot) => (true, None),
                (true, IfAway::Stay) => {
                    (false, Some(format!("{NO_TURN} for {patience}: the FleetLock server is away: {why}")))
                }
            };
            Queue { ours, why, away: Some(since), ..next }
        }
    }
}

impl Queue {
    /// What is remembered on `root`. What cannot be understood may have been a slot: it is given back.
    #[must_use]
    pub fn read(root: &Root) -> Self {
        let path = root.path(FILE);
        let Ok(bytes) = fs::read(&path) else { return Self::default() };
        serde_json::from_slice(&bytes).unwrap_or_else(|e| {
            warn!("{}: not understood ({e}); giving back whatever slot it was about", path.display());
            Self { asked: true, ..Self::default() }
        })
    }

    /// Whether the server is not waited for any longer.
    #[must_use]
    pub fn is_given_up(&self) -> bool {
        self.why.as_deref().is_some_and(|why| why.starts_with(NO_TURN))
    }

    /// Remembers it; writes nothing if it is remembered already.
    ///
    /// # Errors
    /// [`Error::Failed`] if it cannot be written.
    pub fn write(&self, root: &Root) -> Result<()> {
        if Self::read(root) == *self {
            return Ok(());
        }
        let path = root.path(FILE);
        let bytes = serde_json::to_vec(self).or_failed(|| format!("{}: cannot encode", path.display()))?;
        abide_core::files::replace(&path, &bytes)
    }
}

/// A machine in the queue of a server.
pub struct Client {
    agent: Agent,
    base: String,
    config: FleetLock,
    id: String,
    root: Root,
}

impl Client {
    /// The machine of `root` in the queue of `config`.
    ///
    /// # Errors
    /// [`Error::Usage`] if it has no id, or the certificates cannot be read.
    pub fn new(root: &Root, config: &FleetLock) -> Result<Self> {
        let id = config.id.clone().unwrap_or_else(|| machine_id::derived(root));
        if id.is_empty() {
            return Err(Error::Usage(
                "[update.fleetlock]: the machine has no machine id to be known by; give it an id".into(),
            ));
        }
        let ca = config.ca.as_deref().map(Path::new);
        let agent = http::agent(root, ca, Patience::Whole(LIMIT), Redirects::Ignore).map_err(Error::Usage)?;
        let base = config.url.trim_end_matches('/').to_owned();
        Ok(Self { agent, base, config: config.clone(), id, root: root.clone() })
    }

    /// Asks for a slot for the update `digest`; whoever holds one is given it again.
    ///
    /// # Errors
    /// [`Error::Failed`] if the answer cannot be remembered: then there is no reboot.
    pub fn take(&self, digest: &str, now: Timestamp) -> Result<Queue> {
        let queue = Queue::read(&self.root);
        // Cut off after the server's yes, the slot must be known to be given back.
        Queue { asked: true, ours: false, ..queue.clone() }.write(&self.root)?;
        let queue = judge(&queue, digest, &self.ask("pre-reboot"), &self.config, now.as_second());
        queue.write(&self.root)?;
        if queue.ours && queue.away.is_some() {
            warn!("{} has been away for too long; rebooting without its word", self.base);
        }
        Ok(queue)
    }

    /// Gives back whatever slot there may be. Not to be called while the machine is on trial.
    ///
    /// # Errors
    /// [`Error::Failed`] if the server does not take it; it is offered again the next time.
    pub fn give_back(&self) -> Result<()> {
        let queue = Queue::read(&self.root);
        if !queue.asked {
            return Ok(());
        }
        match self.ask("steady-state") {
            Said::Yes => {
                info!("gave the turn to reboot back to {}", self.base);
                Queue::default().write(&self.root)
            }
            Said::No(why) | Said::Away(why) => {
                Err(Error::Failed(format!("{}: cannot give the turn to reboot back: {why}", self.base)))
            }
        }
    }

    fn ask(&self, what: &str) -> Said {
        let body = json!({ "client_params": { "id": self.id, "group": self.config.group } });
        let answer = self
            .agent
            .post(format!("{}/v1/{what}", self.base))
            .header("fleet-lock-protocol", "true")
            .content_type("application/json")
            .send(body.to_string());
        let mut answer = match answer {
            Ok(answer) => answer,
            Err(e) => return Said::Away(e.to_string()),
        };
        let status = answer.status().as_u16();
        match answer.body_mut().with_config().limit(MOST_BYTES).read_to_vec() {
            _ if (200..300).contains(&status) => Said::Yes,
            Ok(body) => refusal(status, &body),
            Err(e) => Said::Away(e.to_string()),
        }
    }
}

/// A server of this protocol says why it refuses; whatever else answers is not one.
fn refusal(status: u16, body: &[u8]) -> Said {
    #[derive(Deserialize)]
    struct Refusal {
        kind: String,
        value: String,
    }
    match serde_json::from_slice::<Refusal>(body) {
        Ok(Refusal { kind, value }) => Said::No(format!("{kind}: {value}")),
        Err(_) => Said::Away(format!("status {status}")),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn config(if_away: IfAway) -> FleetLock {
        FleetLock {
            url: "http://h/lock".into(),
            group: "default".into(),
            id: Some("n1".into()),
            ca: None,
            patience: Duration::from_secs(100),
            if_away,
        }
    }

    #[test]
    fn a_refusal_is_told_from_a_server_that_is_another_or_is_not_there() {
        let full =
            br#"{"kind":"failed_lock","value":"semaphore currently full, all slots are locked already"}"#;
        assert!(matches!(refusal(500, full), Said::No(why) if why.contains("all slots are locked")));
        assert_eq!(refusal(502, b"<html>"), Said::Away("status 502".into()));
        assert_eq!(refusal(404, b""), Said::Away("status 404".into()));
    }

    #[test]
    fn whose_turn_it_is_not_waits_however_long_and_has_nothing_to_give_back() {
        let full = Said::No("full".into());
        let queue = judge(&Queue::default(), "d", &full, &config(IfAway::Reboot), 1_000_000);
        assert_eq!((queue.asked, queue.ours, queue.away), (false, false, None));
        assert!(queue.why.unwrap().contains("full"));
    }

    #[test]
    fn a_server_that_is_away_is_waited_for_so_long_and_no_longer() {
        let away = Said::Away("timeout".into());
        for if_away in [IfAway::Stay, IfAway::Reboot] {
            let config = config(if_away);
            let judge = |queue: &Queue, said: &Said, now| judge(queue, "d", said, &config, now);
            let first = judge(&Queue::default(), &away, 1000);
            let later = judge(&first, &away, 1099);
            assert!(!first.ours && !later.ours && !later.is_given_up());
            assert_eq!(later.away, Some(1000));
            let over = judge(&later, &away, 1100);
            assert_eq!(over.ours, if_away == IfAway::Reboot);
            assert_eq!(over.is_given_up(), if_away == IfAway::Stay);
            // It came back in between: the time begins anew.
            let back = judge(&later, &Said::No("full".into()), 1100);
            assert_eq!(judge(&back, &away, 1101).away, Some(1101));
            // So it does if the clock was set back.
            assert_eq!(judge(&later, &away, 10).away, Some(10));
        }
    }

    #[test]
    fn what_cannot_be_read_may_have_been_a_slot() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::at(dir.path());
        assert_eq!(Queue::read(&root), Queue::default());
        let queue = Queue { asked: true, ours: true, digest: "d".into(), why: None, away: Some(1) };
        queue.write(&root).unwrap();
        assert_eq!(Queue::read(&root), queue);
        fs::write(root.path(FILE), "{").unwrap();
        assert!(Queue::read(&root).asked);
    }
}

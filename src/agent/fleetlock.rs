//! FleetLock: a server that limits how many machines reboot at the same time.
//!
//! The reboot lock that it grants has no time limit. A machine keeps it over the reboot and releases it after the
//! commit or the rollback. A machine that fails in between keeps it, and so blocks the others until an operator
//! releases it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use log::{info, warn};
use serde::{Deserialize, Serialize};
use serde_json::json;
use ureq::http::{HeaderName, Method, header};

use crate::config::update::{FleetLock, IfAway};
use crate::feed::cache::{Cache, FLEETLOCK};
use crate::files;
use crate::http::{Client, HttpError, Redirects, Timeout};
use crate::machine_id;
use crate::url::shown;
use crate::web_page::{self, is_page, is_page_type};
use abide_core::config::duration;
use abide_core::error::{Error, Result};
use abide_core::root::Root;
use abide_core::text;

/// The limit of one request with its answer.
const TIMEOUT: Duration = Duration::from_secs(30);

/// The header that a FleetLock server requires.
const PROTOCOL: HeaderName = HeaderName::from_static("fleet-lock-protocol");

/// The longest answer that is read.
const MAX_BYTES: u64 = 64 << 10;

/// The reply of a server to a request for the lock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LockReply {
    /// The lock is granted.
    Granted,
    /// The lock is refused, and why: others hold it, or the group is unknown.
    Refused(String),
    /// No reply, or not one of a FleetLock server.
    Unreachable(String),
}

/// What is remembered of the lock. Times are seconds since 1970.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LockState {
    /// Whether the machine may hold the lock: it was requested. Set before the request.
    #[serde(rename = "asked")]
    pub requested: bool,
    /// Whether the machine may reboot: the lock was granted, or the server was unreachable for too long.
    #[serde(rename = "ours")]
    pub granted: bool,
    /// The digest of the update that it was requested for.
    pub digest: String,
    /// Why the machine waits, in one sentence.
    pub why: Option<String>,
    /// Since when the server is unreachable while the lock is wanted.
    #[serde(rename = "away")]
    pub unreachable: Option<i64>,
    /// Whether the wait for the unreachable server is over without a reboot.
    pub given_up: bool,
}

/// The state after a reply to the request for the update `digest`. Pure.
#[must_use]
pub fn after(state: &LockState, digest: &str, reply: &LockReply, config: &FleetLock, now: i64) -> LockState {
    let next = LockState { requested: true, digest: digest.to_owned(), ..LockState::default() };
    match reply {
        LockReply::Granted => LockState { granted: true, ..next },
        // Then there is nothing to release.
        LockReply::Refused(why) => {
            LockState { requested: false, why: Some(format!("Waiting for the reboot lock: {why}")), ..next }
        }
        LockReply::Unreachable(why) => {
            // If the clock was set back, the time starts over.
            let since = state.unreachable.filter(|since| *since <= now).unwrap_or(now);
            let is_over = now - since >= i64::try_from(config.patience.as_secs()).unwrap_or(i64::MAX);
            let next = LockState { unreachable: Some(since), ..next };
            match (is_over, config.if_away) {
                (false, _) => {
                    let why =
                        format!("Waiting for the reboot lock: no reply from the FleetLock server: {why}");
                    LockState { why: Some(why), ..next }
                }
                (true, IfAway::Reboot) => LockState { granted: true, ..next },
                (true, IfAway::Stay) => {
                    let patience = duration::format(config.patience);
                    let why =
                        format!("No reboot lock: no reply from the FleetLock server for {patience}: {why}");
                    LockState { why: Some(why), given_up: true, ..next }
                }
            }
        }
    }
}

impl LockState {
    /// The state of `root`. If it is damaged, the machine may hold the lock, so that it is released.
    #[must_use]
    pub fn read(root: &Root) -> Self {
        files::read_json(&file(root)).map(Option::unwrap_or_default).unwrap_or_else(|e| {
            warn!("{e}; releasing the reboot lock");
            Self { requested: true, ..Self::default() }
        })
    }

    /// Writes it, unless it is unchanged.
    ///
    /// # Errors
    /// [`Error::Failed`] if it cannot be written.
    pub fn write(&self, root: &Root) -> Result<()> {
        if Self::read(root) == *self {
            return Ok(());
        }
        files::write_json(&file(root), self)
    }
}

/// In the cache, so that the unprivileged part can write it.
fn file(root: &Root) -> PathBuf {
    Cache::of(root).dir().join(FLEETLOCK)
}

/// A client of a FleetLock server.
pub struct LockClient {
    client: Client,
    base: String,
    config: FleetLock,
    id: String,
    root: Root,
}

impl LockClient {
    /// The client of the machine of `root` for the server of `config`.
    ///
    /// # Errors
    /// [`Error::Usage`] if the machine has no id, or the certificates cannot be read.
    pub fn new(root: &Root, config: &FleetLock) -> Result<Self> {
        let id = machine_id::at_server(root, config.id.as_deref(), "update.fleetlock")?;
        let ca = config.ca.as_deref().map(Path::new);
        let client =
            Client::new(root, ca, Timeout::Total(TIMEOUT), Redirects::Refuse).map_err(Error::Usage)?;
        client.check_proxy(&config.url).map_err(Error::Usage)?;
        let base = config.url.trim_end_matches('/').to_owned();
        Ok(Self { client, base, config: config.clone(), id, root: root.clone() })
    }

    /// Requests the lock for the update `digest`. A machine that holds the lock gets it again.
    ///
    /// # Errors
    /// [`Error::Failed`] if the reply cannot be stored: then there is no reboot.
    pub fn acquire(&self, digest: &str, now: Timestamp) -> Result<LockState> {
        let state = LockState::read(&self.root);
        // If the run is interrupted after the grant, the lock must be known, so that it is released.
        LockState { requested: true, granted: false, ..state.clone() }.write(&self.root)?;
        let state = after(&state, digest, &self.post("pre-reboot"), &self.config, now.as_second());
        state.write(&self.root)?;
        if state.granted && state.unreachable.is_some() {
            warn!("{} was unreachable for too long; rebooting without the lock", shown(&self.base));
        }
        Ok(state)
    }

    /// Releases the lock, if the machine may hold it. Must not be called while the machine is on trial.
    ///
    /// # Errors
    /// [`Error::Failed`] if the server does not release it; the next run tries again.
    pub fn release(&self) -> Result<()> {
        if !LockState::read(&self.root).requested {
            return Ok(());
        }
        match self.post("steady-state") {
            LockReply::Granted => {
                info!("released the reboot lock of {}", shown(&self.base));
                LockState::default().write(&self.root)
            }
            LockReply::Refused(why) | LockReply::Unreachable(why) => {
                Err(Error::Failed(format!("{}: cannot release the reboot lock: {why}", shown(&self.base))))
            }
        }
    }

    fn post(&self, what: &str) -> LockReply {
        let body = json!({ "client_params": { "id": self.id, "group": self.config.group } });
        let headers = [(PROTOCOL, "true"), (header::CONTENT_TYPE, "application/json")];
        let url = format!("{}/v1/{what}", self.base);
        let answer = self.client.send(Method::POST, &url, &headers, body.to_string().as_bytes());
        let mut answer = match answer {
            Ok(answer) => answer,
            Err(e) => return LockReply::Unreachable(e.to_string()),
        };
        let status = answer.status().as_u16();
        let kind = answer.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
        let kind = kind.map(str::to_owned);
        match answer.body_mut().with_config().limit(MAX_BYTES).read_to_vec() {
            Ok(body) if (200..300).contains(&status) => success(status, kind.as_deref(), &body),
            Ok(body) => refusal(status, &body),
            Err(e) => LockReply::Unreachable(HttpError::from(e).to_string()),
        }
    }
}

/// How the texts begin with which poseidon/fleetlock confirms that it has done what was requested (`lock` and `unlock` of its
/// server.go, the last one until 0.2).
const CONFIRMATIONS: [&str; 4] = [
    "obtained reboot lease",
    "retained reboot lease",
    "steady-state confirmed",
    "unlocked reboot lease for ",
];

/// Whether a success is one of a FleetLock server. The protocol has nothing but the status, and zincati asks for no more; the
/// servers in use send no body (airlock, fleetlock-consul), one of [`CONFIRMATIONS`] (poseidon/fleetlock), or an object with
/// `kind` "success" (heathcliff26/fleetlock). What a captive portal answers, a page or a line of text, is none of these.
fn success(status: u16, content_type: Option<&str>, body: &[u8]) -> LockReply {
    let text = body.trim_ascii();
    let is_page = is_page(text) || content_type.is_some_and(is_page_type);
    let is_confirmed = match text {
        [] => true,
        [b'{', ..] => serde_json::from_slice::<Kind>(text).is_ok_and(|it| it.kind == "success"),
        text => {
            !text.contains(&b'\n') && CONFIRMATIONS.iter().any(|known| text.starts_with(known.as_bytes()))
        }
    };
    if is_page {
        LockReply::Unreachable(web_page::told("the server"))
    } else if is_confirmed && matches!(status, 200..=204) {
        LockReply::Granted
    } else {
        LockReply::Unreachable(format!("the answer (status {status}) is not one of a FleetLock server"))
    }
}

#[derive(Deserialize)]
struct Kind {
    kind: String,
}

/// The refusal of a FleetLock server has a reason; a reply without one is from another server.
fn refusal(status: u16, body: &[u8]) -> LockReply {
    #[derive(Deserialize)]
    struct LockRefusal {
        kind: String,
        value: String,
    }
    match serde_json::from_slice::<LockRefusal>(body) {
        Ok(LockRefusal { kind, value }) => LockReply::Refused(text::line(&format!("{kind}: {value}"))),
        Err(_) => LockReply::Unreachable(format!("status {status}")),
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
    fn only_a_reply_with_a_reason_is_a_refusal() {
        let full =
            br#"{"kind":"failed_lock","value":"semaphore currently full, all slots are locked already"}"#;
        assert!(
            matches!(refusal(500, full), LockReply::Refused(why) if why.contains("all slots are locked"))
        );
        assert_eq!(refusal(502, b"<html>"), LockReply::Unreachable("status 502".into()));
        assert_eq!(refusal(404, b""), LockReply::Unreachable("status 404".into()));
    }

    #[test]
    fn only_the_answer_of_a_fleetlock_server_grants_the_lock() {
        let text = Some("text/plain; charset=utf-8");
        for (kind, body) in [
            (None, ""),
            (text, "obtained reboot lease"),
            (text, "retained reboot lease"),
            (text, "steady-state confirmed\n"),
            (text, "unlocked reboot lease for n1"),
            (Some("application/json"), r#"{"kind":"success","value":"The operation was successful"}"#),
        ] {
            assert_eq!(success(200, kind, body.as_bytes()), LockReply::Granted, "{body}");
        }
        for (kind, body) in [
            (Some("text/html"), ""),
            (Some("text/html; charset=utf-8"), "Please log in"),
            (text, "<!doctype html>"),
            (None, "  <html>"),
            (Some("application/captive+json"), r#"{"captive":true,"user-portal-url":"https://login"}"#),
            (Some("application/json"), r#"{"kind":"failed_lock","value":"full"}"#),
            (text, "false"),
            (Some("application/json"), "\"success\""),
            (text, "[]"),
            (text, "Welcome.\nPlease log in."),
            (text, "Welcome"),
            (None, "OK"),
            (text, "success"),
            (text, "obtained reboot lease\nPlease log in."),
            (text, &"x".repeat(300)),
        ] {
            assert!(matches!(success(200, kind, body.as_bytes()), LockReply::Unreachable(_)), "{body}");
        }
        assert!(matches!(success(206, None, b""), LockReply::Unreachable(_)));
    }

    #[test]
    fn a_refused_machine_waits_without_limit_and_has_nothing_to_release() {
        let full = LockReply::Refused("full".into());
        let state = after(&LockState::default(), "d", &full, &config(IfAway::Reboot), 1_000_000);
        assert_eq!((state.requested, state.granted, state.unreachable), (false, false, None));
        assert!(state.why.unwrap().contains("full"));
    }

    #[test]
    fn the_wait_for_an_unreachable_server_is_limited() {
        let away = LockReply::Unreachable("timeout".into());
        for if_away in [IfAway::Stay, IfAway::Reboot] {
            let config = config(if_away);
            let after = |state: &LockState, reply: &LockReply, now| after(state, "d", reply, &config, now);
            let first = after(&LockState::default(), &away, 1000);
            let later = after(&first, &away, 1099);
            assert!(!first.granted && !later.granted && !later.given_up);
            assert_eq!(later.unreachable, Some(1000));
            let over = after(&later, &away, 1100);
            assert_eq!(over.granted, if_away == IfAway::Reboot);
            assert_eq!(over.given_up, if_away == IfAway::Stay);
            // A reply in between starts the time over.
            let back = after(&later, &LockReply::Refused("full".into()), 1100);
            assert_eq!(after(&back, &away, 1101).unreachable, Some(1101));
            // So does a clock that was set back.
            assert_eq!(after(&later, &away, 10).unreachable, Some(10));
        }
    }

    #[test]
    fn a_damaged_state_may_have_held_the_lock() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::at(dir.path());
        assert_eq!(LockState::read(&root), LockState::default());
        let state =
            LockState { requested: true, granted: true, unreachable: Some(1), ..LockState::default() };
        state.write(&root).unwrap();
        assert_eq!(LockState::read(&root), state);
        std::fs::write(file(&root), "{").unwrap();
        assert!(LockState::read(&root).requested);
    }
}

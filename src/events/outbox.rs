//! Events on their way to a server: kept on disk until the server has accepted them.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use log::{info, warn};
use serde::{Deserialize, Serialize};
use ureq::http::{Method, header};

use crate::config::EventTargets;
use crate::events::event::Event;
use crate::files;
use crate::http::{Client, Header, Redirects, Timeout};
use crate::url::shown;
use abide_core::error::{OrError, Result};
use abide_core::root::Root;

/// One file for each event; their names sort by age.
const DIR: &str = "/var/lib/abide/reports";

/// No more are kept: the oldest are dropped first.
const MAX_EVENTS: usize = 100;

/// How long the server may take for one event.
const LIMIT: Duration = Duration::from_secs(30);

const JSON: Header<'_> = (header::CONTENT_TYPE, "application/json");

/// Keeps `event` until it is delivered.
///
/// # Errors
/// [`abide_core::error::Error::Failed`] if `/var/lib/abide` cannot be written.
pub fn put(root: &Root, event: &Event) -> Result<()> {
    let waiting = waiting(root)?;
    for old in waiting.iter().take((waiting.len() + 1).saturating_sub(MAX_EVENTS)) {
        warn!("{}: dropped: too many events wait for the server", old.display());
        files::remove(old)?;
    }
    let number = waiting.last().and_then(|file| number_of(file)).map_or(1, |last| last + 1);
    let bytes = serde_json::to_vec(event).or_failed(|| "cannot encode an event")?;
    files::replace(&root.path(DIR).join(format!("{number:012}-{}.json", event.event.as_str())), &bytes)
}

/// Posts the events that wait, the oldest first. Returns how many still wait.
///
/// # Errors
/// [`abide_core::error::Error::Failed`] if the outbox cannot be read or changed.
pub fn deliver(root: &Root, targets: &EventTargets) -> Result<usize> {
    match Server::of(targets) {
        Some(server) => post_all(root, &server, &waiting(root)?, files::remove),
        None => empty(root).map(|()| 0),
    }
}

/// Removes all events: no server is configured any more.
///
/// # Errors
/// [`abide_core::error::Error::Failed`] if they cannot be removed.
pub(super) fn empty(root: &Root) -> Result<()> {
    waiting(root)?.iter().try_for_each(|file| files::remove(file))
}

/// Where events are sent.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Server {
    pub url: String,
    /// Its certificates, if not the system's.
    pub ca: Option<String>,
}

impl Server {
    pub fn of(targets: &EventTargets) -> Option<Self> {
        Some(Self { url: targets.url.clone()?, ca: targets.ca.clone() })
    }
}

/// Posts `events` in their order, and calls `done` for each one that the server has accepted. Returns how many it has
/// not.
///
/// # Errors
/// Those of `done`, and if an event cannot be read.
pub(super) fn post_all(
    root: &Root,
    server: &Server,
    events: &[PathBuf],
    done: impl Fn(&Path) -> Result<()>,
) -> Result<usize> {
    let mut left = events.len();
    for file in events {
        let Some(event) = files::read(file)? else { continue };
        match post(root, server, &event) {
            Ok(()) => {
                done(file)?;
                left -= 1;
                info!("{}: delivered", file.display());
            }
            Err(Refusal::Status(status)) => {
                warn!("{}: status {status}; {} will be sent again later", shown(&server.url), file.display())
            }
            Err(Refusal::Unreachable(why)) => {
                warn!("{}: {why}; {left} events will be sent again later", shown(&server.url));
                break;
            }
        }
    }
    Ok(left)
}

enum Refusal {
    /// The server was reached and refused the event; it may accept the next.
    Status(u16),
    /// The server was not reached.
    Unreachable(String),
}

fn post(root: &Root, server: &Server, event: &[u8]) -> std::result::Result<(), Refusal> {
    let ca = server.ca.as_deref().map(Path::new);
    let client =
        Client::new(root, ca, Timeout::Total(LIMIT), Redirects::Refuse).map_err(Refusal::Unreachable)?;
    let response = client.send(Method::POST, &server.url, &[JSON], event);
    match response.map_err(|e| Refusal::Unreachable(e.to_string()))?.status().as_u16() {
        200..300 => Ok(()),
        status => Err(Refusal::Status(status)),
    }
}

/// The files in the outbox, the oldest first.
pub(super) fn waiting(root: &Root) -> Result<Vec<PathBuf>> {
    events_in(&root.path(DIR))
}

/// The events in a folder, the oldest first.
pub(super) fn events_in(dir: &Path) -> Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(dir) {
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(vec![]),
        other => other.or_failed(|| format!("{}: cannot read", dir.display()))?,
    };
    let mut files: Vec<PathBuf> =
        entries.flatten().map(|e| e.path()).filter(|p| p.extension().is_some_and(|e| e == "json")).collect();
    files.sort_unstable();
    Ok(files)
}

fn number_of(file: &Path) -> Option<u64> {
    file.file_name()?.to_str()?.split('-').next()?.parse().ok()
}

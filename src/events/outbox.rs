//! Reports on their way to a server: kept on disk until it has taken them.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use log::{info, warn};

use crate::config::EventTargets;
use crate::events::event::Event;
use crate::http;
use crate::http::{Redirects, Timeout};
use abide_core::error::{Error, OrError, Result};
use abide_core::files::replace;
use abide_core::root::Root;

/// One file for each report, named so that they sort by age.
const DIR: &str = "/var/lib/abide/reports";

/// More are not kept: the oldest go first.
const MOST: usize = 100;

/// How long the server may take for one report.
const LIMIT: Duration = Duration::from_secs(30);

/// Keeps `event` until it is delivered.
///
/// # Errors
/// [`Error::Failed`] if `/var/lib/abide` cannot be written.
pub fn put(root: &Root, event: &Event) -> Result<()> {
    let waiting = waiting(root)?;
    for old in waiting.iter().take((waiting.len() + 1).saturating_sub(MOST)) {
        warn!("{}: dropped, as too many reports wait", old.display());
        remove(old)?;
    }
    let number = waiting.last().and_then(|file| number_of(file)).map_or(1, |last| last + 1);
    let bytes = serde_json::to_vec(event).or_failed(|| "cannot encode a report")?;
    replace(&root.path(DIR).join(format!("{number:012}-{}.json", event.event.as_str())), &bytes)
}

/// Posts what waits, the oldest first. Returns how many still wait.
///
/// # Errors
/// [`Error::Failed`] if the outbox cannot be read or changed.
pub fn deliver(root: &Root, to: &EventTargets) -> Result<usize> {
    let waiting = waiting(root)?;
    let Some(url) = &to.url else {
        // Nobody is to be told any more.
        waiting.iter().try_for_each(|file| remove(file))?;
        return Ok(0);
    };
    let mut left = waiting.len();
    for file in &waiting {
        let report = fs::read(file).or_failed(|| format!("{}: cannot read", file.display()))?;
        match post(root, to, url, &report) {
            Ok(()) => {
                remove(file)?;
                left -= 1;
                info!("{} is delivered", file.display());
            }
            Err(Refusal::Status(status)) => warn!("{url}: status {status}; {} waits", file.display()),
            Err(Refusal::Unreachable(why)) => {
                warn!("{url}: {why}; {left} reports wait");
                break;
            }
        }
    }
    Ok(left)
}

enum Refusal {
    /// It was reached, and did not take it; it may take the next.
    Status(u16),
    /// It was not reached.
    Unreachable(String),
}

fn post(root: &Root, to: &EventTargets, url: &str, report: &[u8]) -> std::result::Result<(), Refusal> {
    let ca = to.ca.as_deref().map(Path::new);
    let agent =
        http::agent(root, ca, Timeout::Total(LIMIT), Redirects::Follow).map_err(Refusal::Unreachable)?;
    let answer = agent.post(url).content_type("application/json").send(report);
    match answer.map_err(|e| Refusal::Unreachable(e.to_string()))?.status().as_u16() {
        200..300 => Ok(()),
        status => Err(Refusal::Status(status)),
    }
}

/// The files in the outbox, the oldest first.
fn waiting(root: &Root) -> Result<Vec<PathBuf>> {
    let dir = root.path(DIR);
    let entries = match fs::read_dir(&dir) {
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(vec![]),
        other => other.or_failed(|| format!("{}: cannot read", dir.display()))?,
    };
    let mut files: Vec<PathBuf> =
        entries.flatten().map(|e| e.path()).filter(|p| p.extension().is_some_and(|e| e == "json")).collect();
    files.sort();
    Ok(files)
}

fn number_of(file: &Path) -> Option<u64> {
    file.file_name()?.to_str()?.split('-').next()?.parse().ok()
}

fn remove(file: &Path) -> Result<()> {
    match fs::remove_file(file) {
        Err(e) if e.kind() != ErrorKind::NotFound => {
            Err(Error::Failed(format!("{}: cannot remove: {e}", file.display())))
        }
        _ => Ok(()),
    }
}

//! Delivery by a unit whose main process is not root: the first step of `abide-report.service`, which is root, leaves
//! copies of the events in the unit's runtime directory; the main process posts them; the last step, which is root
//! again, removes the delivered ones from the outbox.
//!
//! The main process and its folder are untrusted: by lying they can have events dropped, and nothing else.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::{Path, PathBuf};

use log::{info, warn};

use crate::config::EventTargets;
use crate::events::outbox;
use crate::events::outbox::Server;
use crate::files::{self, Access, OpenFolder};
use crate::systemd;
use abide_core::error::{Error, OrError, Result};
use abide_core::root::Root;

/// Set by systemd for a unit with `RuntimeDirectory=`. The folder belongs to the unit's user, and is new at each start.
const RUNTIME_DIRECTORY: &str = "RUNTIME_DIRECTORY";

/// Where to send the events: the user of the unit may be unable to read the configuration.
const SERVER: &str = "server";

/// The copy of the certificates.
const CERTIFICATES: &str = "ca.pem";

/// Why nothing was handed over: the configuration is invalid.
const REFUSAL: &str = "refusal";

/// The largest file of certificates.
const MAX_CERTIFICATES: u64 = 16 << 20;

/// The extension of the copy of a delivered event.
const DELIVERED: &str = "delivered";

/// The unit that delivers.
pub(super) const REPORT_UNIT: &str = "abide-report.service";

/// Leaves the server and the events in the outbox for the user of the unit.
///
/// # Errors
/// [`Error::Failed`] outside of a unit with `RuntimeDirectory=`, or if a copy cannot be written.
pub fn hand_over(root: &Root, targets: &EventTargets) -> Result<()> {
    let Some(mut server) = Server::of(targets) else { return outbox::empty(root) };
    let dir = runtime(root)?;
    if let Some(ca) = &server.ca {
        let pem =
            files::read_named(&root.path(ca), MAX_CERTIFICATES).or_failed(|| format!("{ca}: cannot read"))?;
        leave(&dir.path, CERTIFICATES.as_ref(), &pem)?;
        server.ca = Some(dir.name.join(CERTIFICATES).display().to_string());
    }
    for event in outbox::waiting(root)? {
        // One that cannot be read keeps no other from being sent.
        let bytes = files::read(&event).unwrap_or_else(|e| {
            warn!("{e}; this event is not sent");
            None
        });
        let (Some(name), Some(bytes)) = (event.file_name(), bytes) else { continue };
        leave(&dir.path, name, &bytes)?;
    }
    let server = serde_json::to_vec(&server).or_failed(|| "cannot encode the server of events")?;
    leave(&dir.path, SERVER.as_ref(), &server)
}

/// Leaves the reason why nothing can be handed over, which the main process then ends with: systemd does not restart the
/// unit for some exit codes of the main process, but for all of the first step.
///
/// # Errors
/// [`Error::Failed`] as for [`hand_over`].
pub fn hand_over_refusal(root: &Root, why: &Error) -> Result<()> {
    leave(&runtime(root)?.path, REFUSAL.as_ref(), why.to_string().as_bytes())
}

/// Posts the events that were handed over. Returns how many the server has not accepted.
///
/// # Errors
/// [`Error::Usage`] if the configuration is invalid; [`Error::Failed`] outside of a unit with `RuntimeDirectory=`, or if
/// a copy cannot be read or renamed.
pub fn deliver_copies(root: &Root) -> Result<usize> {
    let dir = runtime(root)?.path;
    if let Some(why) = files::read_text(&dir.join(REFUSAL))? {
        return Err(Error::Usage(why));
    }
    let Some(server) = files::read_json::<Server>(&dir.join(SERVER))? else { return Ok(0) };
    outbox::post_all(root, &server, &outbox::events_in(&dir)?, |copy| {
        fs::rename(copy, copy.with_extension(DELIVERED))
            .or_failed(|| format!("{}: cannot rename", copy.display()))
    })
}

/// Removes the events from the outbox whose copies were delivered. Starts the unit again if an event came after the
/// copies were made.
///
/// # Errors
/// [`Error::Failed`] outside of a unit with `RuntimeDirectory=`, or if an event cannot be removed.
pub fn take_back(root: &Root) -> Result<()> {
    let dir = runtime(root)?.path;
    let copies = OpenFolder::find(&dir).or_failed(|| format!("{}: cannot open", dir.display()))?;
    let is_there = |name: &OsStr| match copies.look_at(name) {
        Ok(_) => Ok(true),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(false),
        Err(e) => Err(e),
    };
    // If nothing was handed over, no event is late.
    let is_handed_over = is_there(SERVER.as_ref()).or_failed(|| format!("{}: cannot read", dir.display()))?;
    let mut is_late = false;
    for event in outbox::waiting(root)? {
        let Some(name) = event.file_name() else { continue };
        let delivered = event.with_extension(DELIVERED);
        let delivered = delivered.file_name().map_or_else(OsString::new, OsStr::to_owned);
        let cannot = || format!("{}: cannot look for copies", dir.display());
        if is_there(&delivered).or_failed(cannot)? {
            files::remove(&event)?;
        } else {
            // One that cannot be read was not handed over either; for it, the unit would be started again and again.
            is_late |= !is_there(name).or_failed(cannot)? && matches!(files::read(&event), Ok(Some(_)));
        }
    }
    if is_late && is_handed_over {
        info!("an event came during the delivery: starting {REPORT_UNIT} again");
        systemd::start(root, REPORT_UNIT);
    }
    Ok(())
}

/// The unit's runtime directory.
struct Runtime {
    /// Its name in the tree.
    name: PathBuf,
    path: PathBuf,
}

fn runtime(root: &Root) -> Result<Runtime> {
    let name = std::env::var_os(RUNTIME_DIRECTORY).map(PathBuf::from).ok_or_else(|| {
        Error::Failed(format!(
            "{RUNTIME_DIRECTORY} is not set: only {REPORT_UNIT} uses this option; run `abide report`"
        ))
    })?;
    Ok(Runtime { path: root.path(&name), name })
}

/// Leaves a file for the owner of `dir`. The unit has just started, so that only root has had access to the folder.
fn leave(dir: &Path, name: &OsStr, bytes: &[u8]) -> Result<()> {
    let path = dir.join(name);
    let cannot = || format!("{}: cannot write", path.display());
    let folder = OpenFolder::find(dir).or_failed(cannot)?;
    folder.replace(name, bytes, Access::Owner).or_failed(cannot)?;
    let owner = fs::metadata(dir).or_failed(cannot)?;
    chown(&path, Some(owner.uid()), Some(owner.gid())).or_failed(cannot)
}

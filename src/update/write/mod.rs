//! `write`: an image into the other slot, verified and not yet bootable.
//!
//! The order is what makes it safe to be cut off anywhere: everything that can be refused is
//! refused first; then the slot's old entry goes; then the state says that the slot is
//! being written; and only after everything was read back and the digest is right does it
//! say that an update is staged. The next `write` simply starts again.

mod opened;
mod plan;
mod stage;

use std::io::Read;

use log::{info, warn};

use crate::config::Download;
use crate::disk::SlotName;
use crate::disk::direct::DirectFile;
use crate::disk::overwrite::{Report, overwrite};
use crate::error::{Error, Result};
use crate::hex;
use crate::state::{Stage, State, Uki, Update};

use super::machine::Machine;
use super::step::{Effects, Step, perform_all};
use opened::Opened;

pub use opened::Described;
pub use plan::{Facts, Plan, SPARE};
pub use stage::Room;

/// Folders for a temporary file, where an image's ESP is too full to be kept in memory.
const SPOOL_DIRS: [&str; 2] = ["/var/lib/abide", "/run/abide"];

/// How far the slot has been written, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Given to the writers so far.
    pub done: u64,
    /// Of the root.
    pub total: u64,
}

/// What was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// The version that is staged now.
    pub version: String,
    /// Where it is.
    pub slot: SlotName,
    /// SHA-256 of the published image.
    pub digest: String,
    /// What that cost.
    pub report: Report,
}

/// Writes the image `source` (a path, a URL, or `-`) into the slot that is not running and stages it.
/// `sha256` is the digest of the published file, where it is known; `download` limits a download.
///
/// # Errors
/// [`Error::Refused`] if the image does not fit the machine or failed before, or the running system
/// is on trial: nothing was changed then. [`Error::Image`] if the image cannot be read or the slot
/// cannot be written, [`Error::Unverified`] if a digest is wrong or something
/// reads back differently, [`Error::Boot`] if the ESP cannot be changed: the slot may
/// be half-written then, and nothing boots it.
pub fn write(
    machine: &mut Machine,
    source: &str,
    sha256: Option<&str>,
    download: &Download,
    mut progress: impl FnMut(Progress),
) -> Result<Written> {
    let sha256 = sha256.map(parse_digest).transpose()?;
    machine.refuse_on_trial()?;
    refuse_failed(&machine.state(), None, sha256.as_deref())?;
    let slots = machine.slots()?.clone();
    let running = machine.running_slot()?;
    let running_entry = machine.running_entry()?.id();
    let spool_dirs = SPOOL_DIRS.map(|dir| machine.root.path(dir)).to_vec();

    let mut image = Opened::open(source, download, &spool_dirs)?;
    let esp = machine.dirs.esp.as_ref();
    let plan = Facts {
        image: image.described()?,
        digest: sha256.as_deref(),
        state: &machine.state(),
        entries: &machine.entries,
        slots: &slots,
        running,
        running_entry: &running_entry,
        room: stage::Room::of(esp)?,
    }
    .plan()?;
    for warning in &plan.warnings {
        warn!("{source}: {warning}");
    }
    let target = slots.get(running.other());
    target.check_change(&machine.root, &plan.after)?;
    let device = open_target(target)?;

    // From here on the slot's old content is gone.
    let uki = begin(machine, &plan, &mut image.uki()?)?;
    image.forget_uki();
    target.change(&machine.root, &plan.before)?;
    let total = image.root_len();
    let report = overwrite(&device, total, image.root()?, |done| progress(Progress { done, total }))?;
    drop(device);
    let digest = hex::encode(&image.finish(sha256.is_none(), &uki)?);
    if sha256.as_ref().is_some_and(|wanted| *wanted != digest) {
        return Err(Error::Unverified(format!(
            "{source}: its SHA-256 is {digest}, not the one that was given; slot {} holds no usable system now",
            target.name
        )));
    }
    refuse_failed(&machine.state(), None, Some(&digest))?;
    target.change(&machine.root, &plan.after)?;
    end(machine, &plan, uki, &digest)?;
    info!("{report:?}");
    Ok(Written { version: plan.update.version, slot: target.name, digest, report })
}

/// Makes the slot unbootable, says so in the state, and puts the UKI aside. Only then may the
/// slot be overwritten.
///
/// # Errors
/// [`Error::Boot`] if the ESP cannot be changed.
pub fn begin(machine: &mut Machine, plan: &Plan, uki: &mut impl Read) -> Result<Uki> {
    stage::set_shared_aside(machine.dirs.esp.as_ref(), &machine.state(), &machine.entries)?;
    perform_all(machine, &plan.clear)?;
    stage::remove(machine.dirs.esp.as_ref())?;
    stage::uki(machine.dirs.esp.as_ref(), uki)
}

/// Once the slot is whole and durable: the state says that the update can be applied.
///
/// # Errors
/// [`Error::Boot`] if the state cannot be saved.
pub fn end(machine: &mut Machine, plan: &Plan, uki: Uki, digest: &str) -> Result<()> {
    machine.perform(&Step::Save(Box::new(staged(machine.state(), &plan.update, uki, digest))))
}

/// The state once everything is in its place.
fn staged(state: State, update: &Update, uki: Uki, digest: &str) -> State {
    let update =
        Update { stage: Stage::Staged, uki: Some(uki), digest: Some(digest.to_owned()), ..update.clone() };
    State { update: Some(update), ..state }
}

fn open_target(target: &crate::disk::Slot) -> Result<DirectFile> {
    DirectFile::open(&target.device).map_err(|e| {
        let what = format!("slot {} ({})", target.name, target.device.display());
        if e.raw_os_error() == Some(libc::EBUSY) {
            Error::Refused(format!("{what} is in use; unmount it first"))
        } else {
            Error::Image(format!("{what}: cannot open: {e}"))
        }
    })
}

fn refuse_failed(state: &State, version: Option<&str>, digest: Option<&str>) -> Result<()> {
    match state.failure_of(version, digest) {
        None => Ok(()),
        Some(failure) => Err(Error::Refused(format!(
            "version {} failed before ({}: {}); `abide forget {}` allows it again",
            failure.version,
            failure.phase.as_str(),
            failure.reason,
            failure.version
        ))),
    }
}

/// A SHA-256 as the user gives it, in lower case.
fn parse_digest(text: &str) -> Result<String> {
    let text = text.trim().to_ascii_lowercase();
    if text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Ok(text);
    }
    Err(Error::Usage(format!("'{text}' is no SHA-256; it takes 64 hexadecimal digits")))
}

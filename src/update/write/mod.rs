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

use crate::boot::entry::Kind;
use crate::config::Config;
use crate::disk::SlotName;
use crate::disk::direct::DirectFile;
use crate::disk::overwrite::{Report, overwrite};
use crate::error::{Error, Result};
use crate::image::Folder;
use crate::image::trust::Judge;
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

/// What to write.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// A path, a URL, or `-`.
    pub image: &'a str,
    /// SHA-256 of the published file, where the user gave it.
    pub sha256: Option<&'a str>,
}

/// Writes an image into the slot that is not running and stages it.
///
/// # Errors
/// [`Error::Refused`] if the image does not fit the machine or failed before, or the running system
/// is on trial, [`Error::Unverified`] if it is not vouched for as the configuration asks: nothing was
/// changed then. [`Error::Image`] if the image cannot be read or the slot
/// cannot be written, [`Error::Unverified`] if a digest is wrong or something
/// reads back differently, [`Error::Boot`] if the ESP cannot be changed: the slot may
/// be half-written then, and nothing boots it.
pub fn write(
    machine: &mut Machine,
    wanted: &Wanted<'_>,
    config: &Config,
    mut progress: impl FnMut(Progress),
) -> Result<Written> {
    let given = wanted.sha256.map(parse_digest).transpose()?;
    machine.refuse_on_trial()?;
    refuse_failed(&machine.state(), None, given.as_deref())?;
    let slots = machine.slots()?.clone();
    let running = machine.running_slot()?;
    let running_entry = machine.running_entry()?;
    let own_id = running_entry.sort_key.clone().filter(|_| running_entry.kind == Kind::Uki);
    let image_id = config.trust.image_id.clone().or(own_id);
    let running_entry = running_entry.id();
    let spool_dirs = SPOOL_DIRS.map(|dir| machine.root.path(dir)).to_vec();

    let judge = Judge::new(&machine.root, &config.trust)?;
    let expected = match Folder::of(wanted.image, &config.download) {
        Some((folder, name)) => judge.expected(&name, Some(&folder), given.as_deref())?,
        None => judge.expected("standard input", None, given.as_deref())?,
    };
    let known = expected.sha256.clone();
    refuse_failed(&machine.state(), None, known.as_deref())?;
    let mut image = Opened::open(wanted.image, &config.download, &spool_dirs, expected)?;
    let esp = machine.dirs.esp.as_ref();
    let plan = Facts {
        image: image.described()?,
        digest: known.as_deref(),
        state: &machine.state(),
        entries: &machine.entries,
        slots: &slots,
        running,
        running_entry: &running_entry,
        room: stage::Room::of(esp)?,
        image_id: image_id.as_deref(),
    }
    .plan()?;
    for warning in &plan.warnings {
        warn!("{}: {warning}", image.name());
    }
    let target = slots.get(running.other());
    target.check_change(&machine.root, &plan.after)?;
    let device = open_target(target)?;

    // From here on the slot's old content is gone.
    let uki = begin(machine, &plan, &mut image.uki()?)?;
    image.forget_uki();
    target.change(&machine.root, &plan.before)?;
    let total = image.root_len();
    let fill = image.root();
    let report =
        fill.and_then(|fill| overwrite(&device, total, fill, |done| progress(Progress { done, total })));
    drop(device);
    let report = match report {
        Ok(report) => report,
        Err(e) => return Err(image.or_changed(e)),
    };
    let digest = image.finish(&uki)?;
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

//! `write`: an image into the other slot, verified and not yet bootable.
//!
//! The order is what makes it safe to be cut off anywhere: everything that can be refused is
//! refused first; then the slot's old entry goes; then the state says that the slot is
//! being written; and only after everything was read back and the digest is right does it
//! say that an update is staged. The next `write` simply starts again.

mod disk_image;
mod opened;
mod parts;
mod plan;
mod set;
mod stage;

use std::io::Read;

use log::{info, warn};

use crate::config::Config;
use crate::disk::direct::DirectFile;
use crate::disk::overwrite::{Totals, overwrite};
use crate::disk::relabel::TableEntry;
use crate::feed::published;
use crate::feed::published::ReleaseFiles;
use crate::image::Folder;
use crate::image::trust::{Expected, Verifier};
use crate::update::rearm::disarm;
use abide_core::boot::esp::safe_rename::discard;
use abide_core::boot::model::entry::EntryKind;
use abide_core::disk::{Area, SlotName};
use abide_core::error::{Error, Result};
use abide_core::state::{Stage, State, Uki, Update};

use abide_core::update::STAGED_UKI;
use abide_core::update::machine::Machine;
use abide_core::update::step::{Effects, Step, perform_all};
use disk_image::DiskImage;
use opened::Opened;
use set::SetImage;

pub use opened::{Described, Part};
pub use parts::PartPlan;
pub use plan::{Facts, NATIVE, Plan, SPARE};
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
    pub report: Totals,
}

/// What to write.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// A path, a URL, `-`, or a folder with `SHA256SUMS`.
    pub image: &'a str,
    /// SHA-256 of the published file, where the user gave it.
    pub sha256: Option<&'a str>,
    /// The version to take out of a folder, or that the image must be.
    pub version: Option<&'a str>,
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
    machine.state().refuse_failed(None, given.as_deref())?;
    let slots = machine.slots()?.clone();
    let running = machine.running_slot()?;
    let running_entry = machine.running_entry()?;
    let own_id = running_entry.sort_key.clone().filter(|_| running_entry.kind == EntryKind::Uki);
    let image_id = config.trust.image_id.clone().or(own_id);
    let running_entry = running_entry.id();
    let (mut image, known) = open(machine, wanted, config, given.as_deref(), image_id.as_deref())?;
    let mut scratch = [0; 16];
    ring::rand::SecureRandom::fill(&ring::rand::SystemRandom::new(), &mut scratch)
        .map_err(|_| Error::Failed("the kernel gives no random numbers".into()))?;
    let plan = Facts {
        image: image.described()?,
        digest: known.as_deref(),
        state: &machine.state(),
        entries: &machine.entries,
        slots: &slots,
        running,
        running_entry: &running_entry,
        room: stage::Room::of(machine.dirs.esp.as_ref())?,
        image_id: image_id.as_deref(),
        no_panic: config.write.no_panic,
        scratch: uuid::Builder::from_random_bytes(scratch).into_uuid(),
    }
    .plan()?;
    if let Some(version) = wanted.version.filter(|version| *version != plan.update.version) {
        return Err(Error::Refused(format!(
            "{}: says that it is version {}, not {version}",
            image.name(),
            plan.update.version
        )));
    }
    for warning in &plan.warnings {
        warn!("{}: {warning}", image.name());
    }
    let slot = running.other();
    let mut devices = Vec::new();
    for part in &plan.parts {
        TableEntry(&part.area).check_change(&machine.root, &part.after)?;
        devices.push((part, open_area(slot, &part.area)?));
    }

    // From here on the slot's old content is gone.
    let uki = begin(machine, &plan, &mut image.uki()?)?;
    image.forget_uki();
    for part in &plan.parts {
        TableEntry(&part.area).change(&machine.root, &part.before)?;
    }
    let report = match write_parts(&mut image, &devices, &mut progress) {
        Ok(report) => report,
        Err(e) => return Err(image.or_changed(e)),
    };
    drop(devices);
    let digest = image.finish(&uki)?;
    machine.state().refuse_failed(None, Some(&digest))?;
    for part in &plan.parts {
        TableEntry(&part.area).change(&machine.root, &part.after)?;
    }
    end(machine, &plan, uki, &digest)?;
    info!("{report:?}");
    Ok(Written { version: plan.update.version, slot, digest, report })
}

/// Opens the image, once it is clear what its bytes must be; and says what it will be remembered by,
/// where that is known.
fn open(
    machine: &Machine,
    wanted: &Wanted<'_>,
    config: &Config,
    given: Option<&str>,
    image_id: Option<&str>,
) -> Result<(Opened, Option<String>)> {
    let spool_dirs = SPOOL_DIRS.map(|dir| machine.root.path(dir)).to_vec();
    let judge = Verifier::new(&machine.root, &config.trust)?;
    let download = &config.download;
    let disk = |image: &str, expected: Expected| {
        let known = expected.sha256.clone();
        machine.state().refuse_failed(None, known.as_deref())?;
        let image = DiskImage::open(image, download, &spool_dirs, expected)?;
        Ok((Opened::Disk(Box::new(image)), known))
    };
    if let Some(folder) = Folder::at(wanted.image, download) {
        if given.is_some() {
            return Err(Error::Usage(format!("{folder}: is a folder; its SHA256SUMS has the digests")));
        }
        let sums = judge.sums(&folder)?;
        let (_, arch) = plan::NATIVE;
        let (version, choice) =
            published::choose(&sums, &folder.to_string(), image_id, arch, wanted.version)?;
        machine.state().refuse_failed(Some(&version), None)?;
        return match choice {
            ReleaseFiles::Disk(file) => {
                let expected = Expected { sha256: Some(file.sha256), claim: None };
                disk(&folder.join(&file.name), expected)
            }
            ReleaseFiles::Set(files) => {
                let digest = published::digest(&files);
                machine.state().refuse_failed(None, Some(&digest))?;
                let image = SetImage::open(folder, download, files, &spool_dirs)?;
                if image.version()? != version {
                    return Err(Error::Refused(format!(
                        "{}: its os-release is of another version than its name, {version}",
                        image.name()
                    )));
                }
                Ok((Opened::Set(Box::new(image)), Some(digest)))
            }
        };
    }
    let expected = match Folder::of(wanted.image, download) {
        Some((folder, name)) => judge.expected(&name, Some(&folder), given)?,
        None => judge.expected("standard input", None, given)?,
    };
    disk(wanted.image, expected)
}

/// Writes the partitions in the order in which they come.
fn write_parts(
    image: &mut Opened,
    devices: &[(&PartPlan, DirectFile)],
    progress: &mut impl FnMut(Progress),
) -> Result<Totals> {
    let lens = image.lens();
    let most = |part: &PartPlan| lens.get(&part.role).copied().flatten().unwrap_or(part.area.size);
    let total = devices.iter().map(|(part, _)| most(part)).sum();
    let mut whole = Totals::default();
    for role in image.order() {
        let Some((part, device)) = devices.iter().find(|(part, _)| part.role == role) else { continue };
        let before = whole.bytes;
        let report = overwrite(device, most(part), image.read(role)?, |done| {
            progress(Progress { done: before + done, total });
        })?;
        image.end_part()?;
        whole.bytes += report.bytes;
        whole.written += report.written;
        whole.zeroed += report.zeroed;
    }
    Ok(whole)
}

/// Makes the slot unbootable, says so in the state, and puts the UKI aside. Only then may the
/// slot be overwritten.
///
/// # Errors
/// [`Error::Boot`] if the ESP cannot be changed.
pub fn begin(machine: &mut Machine, plan: &Plan, uki: &mut impl Read) -> Result<Uki> {
    // The system that is left must not run out of tries. What is overwritten may.
    if machine.state().update.is_some_and(|u| u.slot != plan.update.slot) {
        disarm(machine)?;
    }
    perform_all(machine, &plan.clear)?;
    discard(machine.dirs.esp.as_ref(), STAGED_UKI)?;
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

fn open_area(slot: SlotName, area: &Area) -> Result<DirectFile> {
    DirectFile::open(&area.device).map_err(|e| {
        let what = format!("slot {slot} ({})", area.device.display());
        if e.raw_os_error() == Some(libc::EBUSY) {
            Error::Refused(format!("{what} is in use; unmount it first"))
        } else {
            Error::Image(format!("{what}: cannot open: {e}"))
        }
    })
}

/// A SHA-256 as the user gives it, in lower case.
fn parse_digest(text: &str) -> Result<String> {
    let text = text.trim().to_ascii_lowercase();
    if text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Ok(text);
    }
    Err(Error::Usage(format!("'{text}' is no SHA-256; it takes 64 hexadecimal digits")))
}

//! Writes a slot.

use log::{debug, warn};

use crate::config::Config;
use crate::disk::direct::{ALIGN, DirectFile};
use crate::disk::ext4;
use crate::disk::hash_tree::HashTree;
use crate::disk::overwrite::{Totals, overwrite};
use crate::disk::relabel::TableEntry;
use crate::disk::role::Role;
use crate::image::sha256;
use crate::image::trust::Proof;
use crate::update::WholeMachine;
use crate::update::floor::Floor;
use crate::update::refusal::refuse_failed;
use crate::update::startable::refuse_unstartable;
use crate::update::write::esp_space::EspSpace;
use crate::update::write::foresight;
use crate::update::write::named_image::NamedImage;
use crate::update::write::open::{Opened, Opening};
use crate::update::write::open_image::{Fill, OpenImage};
use crate::update::write::own_tree::OwnTree;
use crate::update::write::partitions::PartitionPlan;
use crate::update::write::plan::{PlanInput, WritePlan};
use crate::update::write::running_build;
use crate::update::write::staged_uki;
use crate::update::write::staging::{Complete, begin, end};
use crate::update::write::target::{Target, target};
use crate::update::write::wanted::Wanted;
use abide_core::boot::Entry;
use abide_core::boot::model::entry::EntryKind;
use abide_core::disk::{Area, SlotName};
use abide_core::error::{Error, OrError, Result};
use abide_core::root::Root;
use abide_core::state::history::{Event, Happened};
use abide_core::update::kernel::os_release;
use abide_core::update::machine::Machine;

/// How much of the slot is written, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Passed to the writers so far.
    pub done: u64,
    /// The total.
    pub total: u64,
}

/// The result of a write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// The staged version.
    pub version: String,
    /// The slot.
    pub slot: SlotName,
    /// SHA-256 of the published image.
    pub digest: String,
    /// How many bytes were written.
    pub totals: Totals,
    /// What vouched for the image.
    pub proof: Proof,
}

/// Writes an image into the slot that is not running and stages it.
///
/// # Errors
/// Before anything is changed: [`Error::Refused`] if the image does not fit the machine or failed before, the
/// running system is on trial, or the partition table must be changed and cannot be; [`Error::Unverified`] if it is not verified as the configuration requires.
/// After that the slot may be incomplete, and nothing boots it: [`Error::Image`] if the image cannot be read or
/// the slot cannot be written, [`Error::Unverified`] if a digest is wrong or something reads back differently,
/// [`Error::Boot`] if the ESP cannot be changed. [`Error::Nothing`] if the image is the build that runs.
pub fn write(
    machine: &mut Machine,
    wanted: &Wanted<'_>,
    config: &Config,
    progress: impl FnMut(Progress),
) -> Result<Written> {
    let written = write_image(machine, wanted, config, progress);
    if let Err(e @ (Error::Refused(_) | Error::Unverified(_))) = &written {
        let version = wanted.version.unwrap_or_default();
        let refused = Event::new(Happened::Refused, version, wanted.sha256, &machine.now);
        machine.tell(Event { reason: e.to_string(), ..refused });
    }
    written
}

fn write_image(
    machine: &mut Machine,
    wanted: &Wanted<'_>,
    config: &Config,
    mut progress: impl FnMut(Progress),
) -> Result<Written> {
    let given = wanted.sha256.map(parse_digest).transpose()?;
    let Target { slot, running } = target(machine)?;
    let state = machine.state();
    refuse_failed(&state, None, given.as_deref())?;
    let image_id = config.trust.image_id.clone().or_else(|| image_id_of(&running, &machine.root));
    let opening = Opening { wanted, sha256: given.as_deref(), image_id: image_id.as_deref(), state: &state };
    let Opened { mut image, digest, named, proof, lists } = opening.open(machine, config)?;
    if let Some(listed) = &digest
        && running_build::is_it(machine, &running, image.uki()?)?
    {
        // Its bytes are verified as those of an image that is written.
        let uki = staged_uki::measure(image.uki()?).or_image(|| format!("{}: cannot read", image.name()))?;
        let name = image.name().to_owned();
        image.finish(&uki)?;
        running_build::remember(machine, &running, listed)?;
        return Err(Error::Nothing(format!("{name}: is the build that runs; nothing to write")));
    }
    let request = Request {
        running: &running,
        digest: digest.as_deref(),
        image_id: image_id.as_deref(),
        named: named.as_ref(),
        proof: &proof,
        allow_downgrade: wanted.allow_downgrade,
    };
    let plan = plan(machine, config, image.as_ref(), &request)?;
    if let Some(version) = wanted.version.filter(|version| *version != plan.update.version) {
        return Err(Error::Refused(format!(
            "{}: has version {}, not {version}",
            image.name(),
            plan.update.version
        )));
    }
    refuse_unstartable(machine, &running, image.name(), image.uki()?)?;
    foresight::refuse_to_clear(machine, &plan)?;
    let image_uki = (image.name(), image.uki()?);
    foresight::refuse_unappliable(machine, &plan, image_uki, &running, config.assess.tries)?;
    if given.is_some() {
        image.verify_ahead()?;
    }
    image.refuse_lacking()?;
    for warning in &plan.warnings {
        warn!("{}: {warning}", image.name());
    }
    let own_tree = match prepare(&machine.root, &plan, image.as_mut()) {
        Ok(own_tree) => own_tree,
        Err(e) => return Err(image.or_changed(e)),
    };
    let mut devices = Vec::new();
    for partition in &plan.partitions {
        for change in [&partition.before, &partition.after] {
            TableEntry(&partition.area).check_change(&machine.root, change)?;
        }
        devices.push((partition, open_area(slot, &partition.area)?));
    }

    // From here on the slot's old content is lost.
    let uki = begin(machine, &plan, &mut image.uki()?)?;
    image.drop_uki();
    for partition in &plan.partitions {
        TableEntry(&partition.area).change(&machine.root, &partition.before)?;
    }
    let written = write_partitions(image.as_mut(), &devices, own_tree.as_ref(), &mut progress);
    let (totals, root_hash) = match written {
        Ok(written) => written,
        Err(e) => return Err(image.or_changed(e)),
    };
    drop(devices);
    let digest = image.finish(&uki)?;
    refuse_failed(&machine.state(), None, Some(&digest))?;
    for partition in &plan.partitions {
        TableEntry(&partition.area).change(&machine.root, &partition.after)?;
    }
    if let Some(own_tree) = &own_tree {
        own_tree.publish(root_hash.as_deref())?;
    }
    end(machine, &plan, Complete { uki, digest: &digest, root_hash, lists })?;
    debug!("{totals:?}");
    Ok(Written { version: plan.update.version, slot, digest, totals, proof })
}

/// The image that the running system is a version of: by its UKI, or else by its os-release, in the same words.
fn image_id_of(running: &Entry, root: &Root) -> Option<String> {
    match running.kind {
        EntryKind::Uki => running.sort_key.clone(),
        _ => os_release(root)?.entry_sort_key().map(str::to_owned),
    }
}

/// What is known of an image before its plan is made.
struct Request<'a> {
    running: &'a Entry,
    digest: Option<&'a str>,
    image_id: Option<&'a str>,
    named: Option<&'a NamedImage>,
    proof: &'a Proof,
    allow_downgrade: bool,
}

fn plan(
    machine: &Machine,
    config: &Config,
    image: &dyn OpenImage,
    request: &Request<'_>,
) -> Result<WritePlan> {
    let Request { running, digest, image_id, named, proof, allow_downgrade } = *request;
    let mut scratch = [0; 16];
    ring::rand::SecureRandom::fill(&ring::rand::SystemRandom::new(), &mut scratch)
        .map_err(|_| Error::Failed("the kernel provides no random numbers".into()))?;
    let state = machine.state();
    let floor = Floor {
        min_version: config.update.min_version.as_deref(),
        configured: config.update.floor.as_deref(),
        learned: state.floor.as_deref(),
        running: running.version.as_deref().unwrap_or_default(),
        allow: allow_downgrade,
    };
    PlanInput {
        image: image.summary()?,
        digest,
        named,
        proof,
        floor,
        state: &state,
        entries: &machine.entries,
        slots: machine.slots()?,
        running: machine.running_slot()?,
        running_entry: running,
        space: EspSpace::of(machine.dirs.esp.as_ref())?,
        image_id,
        no_panic: config.write.no_panic,
        scratch: uuid::Builder::from_random_bytes(scratch).into_uuid(),
    }
    .plan()
}

/// Checks what the image brings for a root below a mapping, and opens what is written beside its partition.
fn prepare(root: &Root, plan: &WritePlan, image: &mut dyn OpenImage) -> Result<Option<OwnTree>> {
    let Some(mapped) = &plan.mapped else { return Ok(None) };
    let head = image.peek(Role::Root, ext4::HEAD)?;
    let image_len =
        plan.partitions.iter().find(|partition| partition.role == Role::Root).and_then(|root| root.len);
    let file_system = mapped.check(image.name(), &head, image_len)?;
    OwnTree::open(root, mapped, &file_system).map(Some)
}

/// Writes the partitions in the order in which the image contains them. Returns the root hash of the tree that was made.
fn write_partitions(
    image: &mut dyn OpenImage,
    devices: &[(&PartitionPlan, DirectFile)],
    own_tree: Option<&OwnTree>,
    progress: &mut impl FnMut(Progress),
) -> Result<(Totals, Option<String>)> {
    let has_tree = |partition: &PartitionPlan| own_tree.is_some() && partition.role == Role::Root;
    let most = |partition: &PartitionPlan| {
        let (len, size) = (partition.len.unwrap_or(partition.area.size), partition.area.size);
        // A tree covers whole blocks.
        if has_tree(partition) { len.next_multiple_of(ALIGN as u64).min(size) } else { len }
    };
    let total = devices.iter().map(|(partition, _)| most(partition)).sum();
    let (mut whole, mut root_hash) = (Totals::default(), None);
    for (partition, device) in devices {
        let before = whole.bytes;
        let tree = own_tree.filter(|_| has_tree(partition)).map_or(Ok(None), OwnTree::begin)?;
        let fill = image.read(partition.role)?;
        let fill = if tree.is_some() { padded(fill) } else { fill };
        let totals = overwrite(device, tree.as_ref(), most(partition), fill, |done| {
            progress(Progress { done: before + done, total });
        })?;
        image.end_partition()?;
        root_hash = tree.map(HashTree::finish).transpose()?.or(root_hash);
        whole.bytes += totals.bytes;
        whole.written += totals.written;
        whole.zeroed += totals.zeroed;
    }
    Ok((whole, root_hash))
}

/// The same bytes with zeros behind them up to the end of their last block.
fn padded(mut fill: Fill<'_>) -> Fill<'_> {
    Box::new(move |to: &mut [u8]| {
        let count = fill(to)?;
        let rest = count..count.next_multiple_of(ALIGN).min(to.len());
        let whole = rest.end;
        to.get_mut(rest).unwrap_or_default().fill(0);
        Ok(whole)
    })
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
    sha256::parse(text.trim()).ok_or_else(|| {
        Error::Usage(format!("'{}' is not a SHA-256 digest; it has 64 hexadecimal digits", text.trim()))
    })
}

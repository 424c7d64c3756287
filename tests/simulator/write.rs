//! `write`, with its own decisions and its own steps on the ESP; only the slot is made up.

use std::io::Cursor;

use abide::disk::role::Role;
use abide::image::trust::Proof;
use abide::update::floor::Floor;
use abide::update::write::{
    Complete, EspSpace, ImageSummary, PartitionSummary, PlanInput, WritePlan, begin, end, target,
};
use abide_core::boot::Volume;
use abide_core::boot::model::uki;
use abide_core::disk::SlotName;
use abide_core::error::{Error, OrError, Result};
use abide_core::state::Uki;
use abide_core::update::step::Effects;
use abide_core::update::{Machine, STAGED_UKI};
use sha2::{Digest, Sha256};

use super::mutation::Mutation;
use super::session::Session;
use super::world::{Parts, Version, bytes_of, index, slots};

/// Writes `version` into the slot that does not run, and stages it.
pub fn write(session: &mut Session<'_>, version: Version) -> Result<()> {
    let done = steps(session, version);
    session.fat.release();
    session.harvest(&format!("write {version}"));
    done
}

fn steps(session: &mut Session<'_>, version: Version) -> Result<()> {
    let mut machine = session.change()?;
    let slot = target(&machine)?.slot;
    assert_eq!(slot, session.target(), "the slot that runs was to be overwritten");
    let bytes = bytes_of((slot, version));
    let digest = abide_core::hex::encode(&Sha256::digest(version.as_bytes()));
    let plan = plan(&machine, &bytes, &digest)?;

    let mutation = session.mutation();
    if mutation == Mutation::OverwriteFirst {
        half_write(session, slot, version);
    }
    let uki = match mutation {
        Mutation::WritingNotSaved => {
            let steps = plan.clear.iter().filter(|s| !matches!(s, abide_core::update::Step::Save(_)));
            steps.map(|step| machine.perform(step)).collect::<Result<Vec<()>>>()?;
            session.fat.write(STAGED_UKI, &mut bytes.as_slice()).or_boot(|| "staged")?;
            session.fat.sync_file(STAGED_UKI).or_boot(|| "staged")?;
            Uki {
                sha256: abide_core::hex::encode(&Sha256::digest(bytes.as_slice())),
                size: bytes.len() as u64,
            }
        }
        _ => begin(&mut machine, &plan, &mut Cursor::new(bytes.as_slice()))?,
    };
    if mutation == Mutation::StagedTooEarly {
        end(&mut machine, &plan, complete(uki.clone(), &digest))?;
    }
    if mutation != Mutation::OverwriteFirst {
        half_write(session, slot, version);
    }
    session.harvest("write: the slot is half written");
    session.world.slots[index(slot)].root = Some(version);
    session.harvest("write: the tree is half written");
    session.world.slots[index(slot)].tree = Some(version);
    session.harvest("write: the root hash is an old one");
    if mutation == Mutation::RootHashLast {
        end(&mut machine, &plan, complete(uki.clone(), &digest))?;
        session.harvest("write: the root hash is an old one");
    }
    session.world.slots[index(slot)].root_hash = Some(version);
    session.harvest("write: the slot is complete");
    end(&mut machine, &plan, complete(uki, &digest))
}

fn complete(uki: Uki, digest: &str) -> Complete<'_> {
    Complete { uki, digest, root_hash: None, lists: None }
}

/// Root and tree are overwritten at the same time. The root hash of an earlier tree stays, and never fits the new one,
/// which has another salt, even where it is of the same version.
fn half_write(session: &mut Session<'_>, slot: SlotName, version: Version) {
    session.harvest("write: the slot is not yet overwritten");
    let root_hash = session.world.slots[index(slot)].root_hash.filter(|old| *old != version);
    session.world.slots[index(slot)] = Parts { root_hash, ..Parts::default() };
    session.world.ghost.good.retain(|(s, _)| *s != slot);
    session.harvest("write: the slot is half written");
}

/// What is to be done before and after the slot is written.
pub fn plan(machine: &Machine, bytes: &[u8], digest: &str) -> Result<WritePlan> {
    let beside = target(machine)?;
    let uki = uki::read(Cursor::new(bytes), true).map_err(|e| Error::Image(e.to_string()))?;
    PlanInput {
        image: ImageSummary {
            partitions: vec![PartitionSummary { role: Role::Root, len: Some(1 << 20), no_auto: false }],
            root_arch: None,
            uki,
            uki_size: bytes.len() as u64,
        },
        digest: Some(digest),
        named: None,
        proof: &Proof::Nothing,
        floor: Floor::default(),
        state: &machine.state(),
        entries: &machine.entries,
        slots: &slots(),
        running: beside.slot.other(),
        running_entry: &beside.running,
        space: EspSpace::of(machine.dirs.esp.as_ref())?,
        image_id: None,
        no_panic: abide::config::OnMissing::Warn,
        scratch: uuid::Uuid::nil(),
    }
    .plan()
}

/// Makes the slot unbootable and stages the UKI: what comes before its first byte is overwritten.
pub fn begin_at(machine: &mut Machine, plan: &WritePlan, bytes: &[u8]) -> Result<Uki> {
    begin(machine, plan, &mut Cursor::new(bytes))
}

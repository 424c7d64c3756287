//! What the state and the ESP record before and after the slot is written.

use std::io::Read;

use crate::update::rearm::disarm;
use crate::update::write::overwrite::refuse_to_overwrite_now;
use crate::update::write::plan::WritePlan;
use crate::update::write::staged_uki;
use abide_core::boot::esp::safe_rename::discard;
use abide_core::error::Result;
use abide_core::state::{SeenList, Stage, State, Uki, Update};
use abide_core::update::machine::Machine;
use abide_core::update::step::{Effects, STAGED_UKI, Step, perform_all};

/// What is known once the slot is complete.
pub struct Complete<'a> {
    /// The staged UKI.
    pub uki: Uki,
    /// SHA-256 of the published image.
    pub digest: &'a str,
    /// The root hash of the tree that was made for it, if one was.
    pub root_hash: Option<String>,
    /// The lists of images to remember, if they have changed.
    pub lists: Option<Vec<SeenList>>,
}

/// Makes the slot unbootable, records that it is being written, and stages the UKI. Only then may the slot be
/// overwritten.
///
/// # Errors
/// [`abide_core::error::Error::Boot`] if the ESP cannot be changed; [`abide_core::error::Error::Refused`] if
/// something still boots the slot.
pub fn begin(machine: &mut Machine, plan: &WritePlan, uki: &mut impl Read) -> Result<Uki> {
    // The system that stays must not run out of tries; the one that is overwritten may.
    if machine.state().update.is_some_and(|u| u.slot != plan.update.slot) {
        disarm(machine)?;
    }
    perform_all(machine, &plan.clear)?;
    refuse_to_overwrite_now(&machine.witnesses(), plan.update.slot)?;
    discard(machine.dirs.esp.as_ref(), STAGED_UKI)?;
    staged_uki::write(machine.dirs.esp.as_ref(), uki)
}

/// Records that the update can be applied. To be called once the slot is complete and durable.
///
/// # Errors
/// [`abide_core::error::Error::Boot`] if the state cannot be saved.
pub fn end(machine: &mut Machine, plan: &WritePlan, complete: Complete<'_>) -> Result<()> {
    machine.perform(&Step::Save(Box::new(staged(machine.state(), &plan.update, complete))))
}

fn staged(state: State, update: &Update, complete: Complete<'_>) -> State {
    let Complete { uki, digest, root_hash, lists } = complete;
    let digest = Some(digest.to_owned());
    let update = Update { stage: Stage::Staged, uki: Some(uki), digest, root_hash, ..update.clone() };
    let lists = lists.unwrap_or_else(|| state.lists.clone());
    State { update: Some(update), lists, ..state }
}

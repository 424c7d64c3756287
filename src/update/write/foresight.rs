//! What would be refused once the other slot is lost: refused before anything is changed.

use crate::update::staged;
use crate::update::switch::{free_stem, is_taken, plan_trial};
use crate::update::write::open_image::ReadSeek;
use crate::update::write::overwrite::refuse_to_overwrite_now;
use crate::update::write::plan::WritePlan;
use abide_core::boot::Entry;
use abide_core::error::{Error, Result};
use abide_core::update::finding::Witnesses;
use abide_core::update::guard::Guard;
use abide_core::update::machine::Machine;
use abide_core::update::step::entries_after;

/// Refuses if one of the steps that make the slot unbootable would be refused, or the slot could not be overwritten after
/// them.
///
/// # Errors
/// [`Error::Refused`] with the reason and what to do.
pub fn refuse_to_clear(machine: &Machine, plan: &WritePlan) -> Result<()> {
    for (number, step) in plan.clear.iter().enumerate() {
        let entries = entries_after(&machine.entries, plan.clear.get(..number).unwrap_or_default());
        Guard::new(&Witnesses { entries: &entries, ..machine.witnesses() }).permit(step)?;
    }
    let entries = entries_after(&machine.entries, &plan.clear);
    refuse_to_overwrite_now(&Witnesses { entries: &entries, ..machine.witnesses() }, plan.update.slot)
}

/// Refuses if the boot loader would not try the image and fall back to the `running` system, so that `apply` would refuse
/// it. `uki` is the image's name and its UKI.
///
/// # Errors
/// [`Error::Refused`] with the model's reason; [`Error::Boot`] if the UKI cannot be read.
pub fn refuse_unappliable(
    machine: &Machine,
    plan: &WritePlan,
    uki: (&str, Box<dyn ReadSeek + '_>),
    running: &Entry,
    tries: u32,
) -> Result<()> {
    let (name, file) = uki;
    let update = &plan.update;
    let stem = free_stem(&update.image_id, &update.version, |stem| is_taken(stem, running))?;
    let (new, others) = staged::entries(file, name, machine.quirks.single_quotes, &stem)?;
    let entries = entries_after(&machine.entries, &plan.clear);
    match plan_trial(machine, &entries, &new, others, running, tries) {
        Err(Error::Refused(why)) => Err(Error::Refused(format!(
            "{name}: `abide apply` would refuse it, so the slot is not overwritten: {why}; remove what names that \
             entry (`default` in loader/loader.conf), or the entry itself if it is not needed"
        ))),
        other => other.map(drop),
    }
}

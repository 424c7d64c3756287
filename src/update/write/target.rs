//! Where an update goes.

use crate::disk::slot_layout::refuse_unwritable;
use crate::update::WholeMachine;
use crate::update::write::overwrite::refuse_to_overwrite;
use abide_core::boot::Entry;
use abide_core::disk::SlotName;
use abide_core::error::Result;
use abide_core::update::machine::Machine;

/// The slot that is written, and what runs beside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The slot that may be overwritten.
    pub slot: SlotName,
    /// The entry of the system that runs from the other one.
    pub running: Entry,
}

/// Finds the slot that may be overwritten.
///
/// # Errors
/// [`abide_core::error::Error::Refused`] unless it is certain that the other slot runs, and that what runs is a
/// good system, and if what lies over the slots is a layout that cannot be written;
/// [`abide_core::error::Error::Failed`] if there are no two slots.
pub fn target(machine: &Machine) -> Result<Target> {
    machine.refuse_on_trial()?;
    let slot = machine.running_slot()?.other();
    refuse_unwritable(&machine.slots()?.layout, slot)?;
    refuse_to_overwrite(&machine.witnesses(), slot)?;
    Ok(Target { slot, running: machine.running_entry()? })
}

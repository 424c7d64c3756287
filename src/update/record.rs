//! The record of a system that was there before, as if it had been an update.

use abide_core::boot::Entry;
use abide_core::disk::RootArg;
use abide_core::state::{Previous, Reboots, Stage, Update};
use abide_core::update::machine::Machine;

/// The system of `entry`, which boots next, on trial; `previous` is the one that it replaces.
#[must_use]
pub fn of_entry(machine: &Machine, entry: &Entry, previous: Previous, tries: u32) -> Update {
    Update {
        image_id: entry.sort_key.clone().unwrap_or_default(),
        version: entry.version.clone().unwrap_or_default(),
        digest: None,
        slot: previous.slot.other(),
        stage: Stage::Applied,
        uki: None,
        root: entry.options.as_deref().and_then(RootArg::parse).map(|r| r.to_string()).unwrap_or_default(),
        entry: entry.id(),
        tries,
        applied_in: machine.boot_id.clone(),
        previous: Some(previous),
        boots: vec![],
        verdict: None,
        ended: None,
        counted: false,
        reboots: Reboots::default(),
    }
}

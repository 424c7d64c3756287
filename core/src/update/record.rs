//! The record of a system that Abide did not write, as if it had been an update.

use crate::boot::Entry;
use crate::disk::RootArg;
use crate::state::{Previous, Reboots, Stage, Update};

use crate::update::machine::Machine;

/// The system of `entry` on trial; `previous` is the one that it replaces.
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
        excused: false,
        root_hash: None,
        verified: None,
        floor: None,
        reboots: Reboots::default(),
        unversioned: entry.unversioned,
    }
}

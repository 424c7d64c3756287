//! The file with the root hash of a slot whose dm-verity tree the machine makes: without it the slot does not boot.

use log::debug;

use crate::disk::hash_file::{HashFiles, Purpose};
use crate::update::WholeMachine;
use abide_core::disk::SlotName;
use abide_core::update::machine::Machine;

/// The name of the slot's file, if it is missing or holds no root hash. Where that cannot be read (only root can mount the
/// file system), nothing is known to be missing.
#[must_use]
pub fn missing(machine: &Machine, slot: SlotName) -> Option<String> {
    let file = &machine.slots().ok()?.get(slot).own_tree.as_ref()?.hash_file;
    let found = HashFiles::open(&machine.root, file, Purpose::Read)
        .inspect_err(|e| debug!("{e}"))
        .ok()?
        .read()
        .inspect_err(|e| debug!("{}: {e}", file.name))
        .ok()?;
    let is_hash = |text: &String| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    (!found.as_ref().is_some_and(is_hash)).then(|| file.name.clone())
}

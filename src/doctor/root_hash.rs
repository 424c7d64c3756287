//! Slots whose root hash is lost.

use crate::doctor::finding::Finding;
use crate::update::{WholeMachine, root_hash};
use abide_core::disk::SlotName;
use abide_core::update::Machine;

/// A slot that a boot entry boots, and the name of its file.
pub(super) struct Lost {
    slot: SlotName,
    file: String,
    is_running: bool,
}

pub(super) fn read(machine: &Machine) -> Vec<Lost> {
    let running = machine.running_slot().ok();
    let boots = |slot: &SlotName| machine.entry_of_slot(*slot).is_some();
    let lost = |slot| {
        Some(Lost { slot, file: root_hash::missing(machine, slot)?, is_running: running == Some(slot) })
    };
    SlotName::ALL.into_iter().filter(boots).filter_map(lost).collect()
}

pub(super) fn look(lost: &[Lost]) -> Vec<Finding> {
    lost.iter().map(finding).collect()
}

fn finding(lost: &Lost) -> Finding {
    let Lost { slot, file, is_running } = lost;
    let what = format!("the partition roothash has no root hash of slot {slot} ({file})");
    if *is_running {
        return Finding::error("no-root-hash", what)
            .because("the initramfs cannot open the running system's root at the next boot")
            .remedy(format!(
                "write the hash that `dmsetup table` shows for the root, the field after sha256, into {file} on that \
                 partition"
            ));
    }
    Finding::error("no-root-hash", what)
        .because("the initramfs cannot open the root of that slot, so there is no system to fall back to")
        .remedy("write an image into the slot")
}

//! What the layout of the slots means for a write.

use abide_core::disk::layout::FaultKind;
use abide_core::disk::{Layout, LayoutKind, SlotName};
use abide_core::error::{Error, Result};

/// Whether the initramfs makes the root's mapping itself, over the slot whose content has the UUID in `boot_uuid=`.
#[must_use]
pub fn is_mapped(kind: LayoutKind) -> bool {
    kind.has_own_tree() || kind == LayoutKind::Linear
}

/// Refuses to write `slot` where that is not possible.
///
/// # Errors
/// [`Error::Refused`] with what is wrong and what to do.
pub fn refuse_unwritable(layout: &Layout, slot: SlotName) -> Result<()> {
    let mut faults = layout.faults.iter().filter(|fault| fault.kind != FaultKind::Tight);
    match faults.find(|fault| fault.slot.is_none_or(|of| of == slot)) {
        None => Ok(()),
        Some(fault) => Err(Error::Refused(format!("{}; {}", fault.what, fault.remedy))),
    }
}

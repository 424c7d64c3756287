//! Which slot the root is mounted from.

use abide_core::disk::{SlotName, Slots};
use abide_core::error::Result;
use abide_core::root::Root;

/// Where what a slot holds is mounted.
const PLACES: [&str; 2] = ["/", "/usr"];

/// The slot that the root is mounted from, where the mount tells: not below an overlay, for instance. There, the table
/// of the mapping that the command line names still does.
///
/// # Errors
/// [`abide_core::error::Error::Failed`] if the table of mounts cannot be read.
pub fn slot(root: &Root, slots: &Slots) -> Result<Option<SlotName>> {
    for place in PLACES {
        if let Some(slot) = slots.mounted_at(root, place)? {
            return Ok(Some(slot));
        }
    }
    Ok(slots.layout.slot)
}

//! Which slot the root is mounted from.

use abide_core::disk::{SlotName, Slots};
use abide_core::error::Result;
use abide_core::root::Root;
use abide_core::update::kernel::{SYSROOT, is_in_initramfs};

/// Where an initramfs mounts `/usr`, if that is what the slots hold.
const SYSROOT_USR: &str = "/sysroot/usr";

/// The slot that the root is mounted from, where the mount tells: not below an overlay, for instance.
///
/// # Errors
/// [`abide_core::error::Error::Failed`] if the table of mounts cannot be read.
pub fn slot(root: &Root, slots: &Slots) -> Result<Option<SlotName>> {
    let places: &[&str] = if is_in_initramfs(root) { &[SYSROOT, SYSROOT_USR] } else { &["/", "/usr"] };
    for place in places {
        if let Some(slot) = slots.mounted_at(root, place)? {
            return Ok(Some(slot));
        }
    }
    Ok(None)
}

//! Which slot this boot came from.

use crate::disk::block;
use crate::disk::slot::{Slot, Slots};
use crate::disk::slot_name::SlotName;
use crate::error::Result;
use crate::mounts;
use crate::root::Root;

impl Slots {
    /// The slot whose partition is mounted at `mount_point`, directly or through device-mapper
    /// (dm-verity, dm-crypt). With `--root` the one that is named as its source in `/proc/self/mountinfo` of
    /// the tree, if that has one.
    ///
    /// # Errors
    /// [`crate::error::Error::Failed`] if the table of mounts cannot be read.
    pub fn mounted_at(&self, root: &Root, mount_point: &str) -> Result<Option<SlotName>> {
        let mounts = match mounts::read(root) {
            Err(_) if !root.is_live() => return Ok(None),
            mounts => mounts?,
        };
        let Some(mount) = mounts::at(&mounts, mount_point) else { return Ok(None) };
        // Below a folder the slots are plain files, which have no number.
        let source = mount.mount_source.as_deref().filter(|_| !root.is_live());
        let below = block::below(root, &mount.majmin);
        let partitions = block::partitions(root);
        let holds = |slot: &Slot| {
            let of_node = partitions.iter().find(|p| p.node == slot.node).map(|p| p.devno.clone());
            source == Some(slot.node.as_str())
                || [of_node, block::devno_of(&slot.device)]
                    .iter()
                    .flatten()
                    .any(|devno| below.contains(devno))
        };
        Ok(match (holds(&self.a), holds(&self.b)) {
            (true, false) => Some(SlotName::A),
            (false, true) => Some(SlotName::B),
            _ => None,
        })
    }
}

//! A root below a device-mapper device that the initramfs makes over the slot with the UUID in `boot_uuid=`, as Intel's
//! Edge Microvisor Toolkit does: what is needed beside the root's own partition. Pure.

use uuid::Uuid;

use crate::disk::ext4::Ext4;
use crate::disk::slot_layout::{is_mapped, refuse_unwritable};
use crate::disk::verity;
use abide_core::boot::model::uki::Uki;
use abide_core::disk::{Luks, OwnTree, RootArg, Slot, Slots};
use abide_core::error::{Error, Result};

/// What is needed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MappedRoot {
    /// The UUID that the UKI names: of the root's file system, or of the header of the encrypted partition around it.
    pub uuid: Uuid,
    /// The bytes that the slot has for the root.
    pub size: u64,
    /// The encrypted partition, where there is one.
    pub luks: Option<Luks>,
    /// The place of the tree, where the machine makes it.
    pub own_tree: Option<OwnTree>,
}

/// What the image's root needs on this machine; `None`: no more than its partition.
///
/// # Errors
/// [`Error::Refused`] if the image is made for another kind of machine, or the slot lacks what is needed.
pub fn plan(root: &RootArg, uki: &Uki, slots: &Slots, target: &Slot) -> Result<Option<MappedRoot>> {
    let kind = slots.layout.kind;
    let node = uki.main.cmdline.as_deref().and_then(verity::mapped);
    let uuid = match (node, root) {
        (Some(_), RootArg::BootUuid(uuid)) if is_mapped(kind) => uuid,
        (Some(node), _) => {
            return Err(Error::Refused(format!(
                "the image boots {node}, a mapping that its initramfs makes over the slot; this machine's root is on \
                 {kind}, so use an image for that"
            )));
        }
        (None, _) if kind.has_own_tree() => {
            return Err(Error::Refused(format!(
                "the image boots {root}, without the mapping that protects the root of this machine ({kind}); use an \
                 image for that"
            )));
        }
        (None, RootArg::BootUuid(_)) => {
            return Err(Error::Refused(format!(
                "the image boots {root}, and no device; build its UKI with root=PARTUUID=… of its root partition"
            )));
        }
        (None, _) => return Ok(None),
    };
    refuse_unwritable(&slots.layout, target.name)?;
    let uuid = Uuid::try_parse(uuid)
        .map_err(|_| Error::Refused(format!("the image boots {root}, which is not a UUID")))?;
    let (luks, own_tree) = (target.luks.clone(), target.own_tree.clone());
    Ok(Some(MappedRoot { uuid, size: target.size, luks, own_tree }))
}

impl MappedRoot {
    /// Checks the first bytes of the root, `head`: the file system has the UUID that the UKI names, fits into the slot, and
    /// is whole in the image, whose root has `image_len` bytes where that is known. Nothing changes it afterwards. An
    /// encrypted partition carries the UUID itself.
    ///
    /// # Errors
    /// [`Error::Refused`]
    pub fn check(&self, image: &str, head: &[u8], image_len: Option<u64>) -> Result<Ext4> {
        let Some(file_system) = Ext4::parse(head) else {
            return Err(Error::Refused(format!("{image}: its root is not an ext4, as boot_uuid= means")));
        };
        let Ext4 { uuid, len } = file_system;
        if self.luks.is_none() && uuid != self.uuid {
            return Err(Error::Refused(format!(
                "{image}: its UKI boots the file system with boot_uuid={}, but its root has the UUID {uuid}; publish \
                 UKI and root of one build",
                self.uuid
            )));
        }
        if len == 0 || len > self.size {
            return Err(Error::Refused(format!(
                "{image}: its root's file system takes {len} bytes, but its slot has only {}",
                self.size
            )));
        }
        if let Some(image_len) = image_len.filter(|image_len| len > *image_len) {
            return Err(Error::Refused(format!(
                "{image}: its root's file system takes {len} bytes, but its root partition ends after {image_len}; \
                 publish the whole root"
            )));
        }
        Ok(file_system)
    }
}

//! Slots that cannot take an update.

use procfs::process::MountInfo;

use crate::disk::slot_layout::is_mapped;
use crate::doctor::finding::Finding;
use crate::doctor::mounted;
use abide_core::disk::block;
use abide_core::disk::{SlotName, Slots};
use abide_core::error::Error;
use abide_core::update::Machine;

const MIB: u64 = 1 << 20;

/// `mounted` is where the other slot is mounted.
pub(super) fn look(slots: &Slots, running: Option<SlotName>, mounted: &[String]) -> Vec<Finding> {
    let mut found = vec![];
    if slots.a.size != slots.b.size {
        let what = format!(
            "slot a ({}) has {} MiB, slot b ({}) has {} MiB",
            slots.a.node,
            slots.a.size / MIB,
            slots.b.node,
            slots.b.size / MIB
        );
        found.push(
            Finding::warning("slots-unequal", what)
                .because("an image that fits only the larger slot is refused for the other one")
                .remedy("enlarge the smaller slot, or keep images smaller than it"),
        );
    }
    let Some(running) = running else {
        let unknown = Finding::error("running-slot-unknown", "the running slot is unknown");
        found.push(if is_mapped(slots.layout.kind) {
            unknown
                .because("the kernel's boot_uuid= does not name one slot; an update might overwrite the running system")
                .remedy("one slot, and not the other, must hold what has the UUID in boot_uuid= of the running UKI")
        } else {
            unknown
                .because("the kernel's root= names neither slot; an update might overwrite the running system")
                .remedy("build each UKI with root=PARTUUID=… of its slot, or name the slots in [slots] of the configuration")
        });
        return found;
    };
    let other = slots.get(running.other());
    if !mounted.is_empty() {
        let what = format!("slot {} ({}) is mounted at {}", other.name, other.node, mounted.join(" and "));
        found.push(
            Finding::error("slot-mounted", what)
                .because("a mounted file system cannot be overwritten; `abide write` refuses")
                .remedy(format!("umount {}", mounted.join(" "))),
        );
    }
    found
}

/// Where a slot is mounted: by its node or its device number.
fn mounts_of(mounts: &[MountInfo], node: &str, devno: Option<&str>) -> Vec<String> {
    let is_it = |mount: &&MountInfo| {
        mount.mount_source.as_deref() == Some(node) || devno == Some(mount.majmin.as_str())
    };
    mounts.iter().filter(is_it).map(|mount| mount.mount_point.display().to_string()).collect()
}

/// `why` there are no two slots.
pub(super) fn none(why: &Error) -> Finding {
    Finding::error("no-slots", "there are no two slots on this machine")
        .because("an update is written into the slot that is not running")
        .remedy(why.to_string())
}

/// Where the other slot is mounted.
pub(super) fn mounts_of_other(machine: &Machine, running: Option<SlotName>) -> Vec<String> {
    let (Some(slots), Some(running)) = (&machine.slots, running) else { return vec![] };
    let slot = slots.get(running.other());
    let devno = block::devno_of(&slot.device);
    mounts_of(&mounted::read(&machine.root), &slot.node, devno.as_deref())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_mount_is_found_by_its_source_and_by_its_device_number() {
        let mounts = [
            "22 1 8:2 / / ro - erofs /dev/sda2 ro",
            "23 22 8:3 / /mnt rw - ext4 /dev/disk/by-partlabel/rootfs_b rw",
            "24 22 0:40 / /media rw - ext4 /dev/sda3 rw",
        ];
        let mounts = mounts.map(|line| MountInfo::from_line(line).unwrap());
        assert_eq!(mounts_of(&mounts, "/dev/sda3", Some("8:3")), ["/mnt", "/media"]);
        assert_eq!(mounts_of(&mounts, "/dev/sda3", None), ["/media"]);
        assert!(mounts_of(&mounts, "/dev/sda4", Some("8:4")).is_empty());
    }
}

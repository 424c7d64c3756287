//! Slots that cannot take an update.

use crate::doctor::finding::Finding;
use abide_core::disk::{SlotName, Slots};

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
        found.push(
            Finding::error("running-slot-unknown", "the running slot is unknown")
                .because("the kernel's root= names neither slot; an update might overwrite the running system")
                .remedy("build each UKI with root=PARTUUID=… of its slot, or name the slots in [slots] of the configuration"),
        );
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

/// Where a slot is mounted, out of `/proc/self/mountinfo`: by its node or its device number.
pub(super) fn mounts_of(mountinfo: &str, node: &str, devno: Option<&str>) -> Vec<String> {
    mountinfo
        .lines()
        .filter_map(|line| {
            let (fields, behind) = line.split_once(" - ")?;
            let fields: Vec<&str> = fields.split(' ').collect();
            let source = behind.split(' ').nth(1)?;
            let is_it = source == node || devno.is_some_and(|devno| fields.get(2) == Some(&devno));
            is_it.then(|| fields.get(4).map(|at| (*at).to_owned()))?
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mount_is_found_by_its_source_and_by_its_device_number() {
        let text = "22 1 8:2 / / ro - erofs /dev/sda2 ro\n\
                    23 22 8:3 / /mnt rw - ext4 /dev/disk/by-partlabel/rootfs_b rw\n\
                    24 22 0:40 / /media rw - ext4 /dev/sda3 rw\n";
        assert_eq!(mounts_of(text, "/dev/sda3", Some("8:3")), ["/mnt", "/media"]);
        assert_eq!(mounts_of(text, "/dev/sda3", None), ["/media"]);
        assert!(mounts_of(text, "/dev/sda4", Some("8:4")).is_empty());
        assert!(mounts_of("rubbish\n", "/dev/sda4", None).is_empty());
    }
}

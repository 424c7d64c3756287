//! Which slot this boot came from.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};

use crate::disk::{Slot, SlotName, Slots};
use crate::error::{OrError, Result};
use crate::root::Root;

/// How many device-mapper layers may lie between a mount and its partition.
const MAX_LAYERS: usize = 8;

impl Slots {
    /// The slot that runs: on the live system the one below the mount at `mount_point` (`/`, or
    /// `/sysroot` in the initramfs), else the one that `/proc/cmdline` names. `None` if neither
    /// tells; the UKI that the loader selected may (see [`Slots::of_cmdline`]).
    ///
    /// # Errors
    /// [`crate::error::Error::Failed`] if `/proc/cmdline` cannot be read.
    pub fn running(&self, root: &Root, mount_point: &str) -> Result<Option<SlotName>> {
        if let Some(name) = self.mounted_at(root, mount_point)? {
            return Ok(Some(name));
        }
        let path = root.path("/proc/cmdline");
        match fs::read(&path) {
            Ok(text) => Ok(self.of_cmdline(&String::from_utf8_lossy(&text))),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e).or_failed(|| format!("{}: cannot read", path.display())),
        }
    }

    /// The slot whose partition is mounted at `mount_point`, directly or through device-mapper
    /// (dm-verity, dm-crypt). Always `None` with `--root`, where nothing is mounted.
    ///
    /// # Errors
    /// [`crate::error::Error::Failed`] if the table of mounts cannot be read.
    pub fn mounted_at(&self, root: &Root, mount_point: &str) -> Result<Option<SlotName>> {
        if !root.is_live() {
            return Ok(None);
        }
        let path = root.path("/proc/self/mountinfo");
        let text = fs::read_to_string(&path).or_failed(|| format!("{}: cannot read", path.display()))?;
        let Some(device) = device_at(&text, mount_point) else { return Ok(None) };
        let below = partitions_below(root, device);
        let holds = |slot: &Slot| device_number(slot).is_some_and(|number| below.contains(&number));
        Ok(match (holds(&self.a), holds(&self.b)) {
            (true, false) => Some(SlotName::A),
            (false, true) => Some(SlotName::B),
            _ => None,
        })
    }
}

/// The `major:minor` of the topmost mount at `mount_point`, out of `/proc/self/mountinfo`
/// (proc_pid_mountinfo(5): the third field is the device, the fifth the mount point).
pub(super) fn device_at<'a>(mountinfo: &'a str, mount_point: &str) -> Option<&'a str> {
    mountinfo
        .lines()
        .filter_map(|line| {
            let mut fields = line.split(' ');
            let device = fields.nth(2)?;
            (fields.nth(1)? == mount_point).then_some(device)
        })
        .next_back()
}

/// A device and all that it is built on.
pub(super) fn partitions_below(root: &Root, device: &str) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    let mut layer = vec![device.to_owned()];
    for _ in 0..MAX_LAYERS {
        let mut next = Vec::new();
        for device in layer {
            let slaves = root.path(format!("/sys/dev/block/{device}/slaves"));
            // A partition has no such folder; that ends the descent.
            for slave in fs::read_dir(slaves).into_iter().flatten().flatten() {
                if let Ok(number) = fs::read_to_string(slave.path().join("dev")) {
                    next.push(number.trim().to_owned());
                }
            }
            all.insert(device);
        }
        layer = next;
    }
    all
}

fn device_number(slot: &Slot) -> Option<String> {
    let meta = fs::metadata(&slot.device).ok()?;
    let number = meta.rdev();
    meta.file_type()
        .is_block_device()
        .then(|| format!("{}:{}", nix::sys::stat::major(number), nix::sys::stat::minor(number)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_topmost_mount_counts() {
        let text = "1 0 0:2 / / rw - rootfs rootfs rw\n\
                    22 1 8:2 / / ro,relatime shared:1 - ext4 /dev/sda2 ro\n\
                    23 22 8:1 / /efi rw - vfat /dev/sda1 rw\n";
        assert_eq!(device_at(text, "/"), Some("8:2"));
        assert_eq!(device_at(text, "/efi"), Some("8:1"));
        assert_eq!(device_at(text, "/sysroot"), None);
    }

    #[test]
    fn the_partition_below_a_verity_mapping_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let slaves = dir.path().join("sys/dev/block/254:0/slaves/sda3");
        fs::create_dir_all(&slaves).unwrap();
        fs::write(slaves.join("dev"), "8:3\n").unwrap();
        let below = partitions_below(&Root::at(dir.path()), "254:0");
        assert!(below.contains("8:3") && below.contains("254:0"));
    }
}

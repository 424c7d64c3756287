//! An ESP that cannot be found, or cannot be written.

use procfs::process::MountInfo;

use abide_core::error::Error;
use abide_core::root::Root;
use abide_core::update::Machine;

use crate::doctor::finding::Finding;
use crate::doctor::mounted;

const ESP_DIRS: [&str; 3] = ["/efi", "/boot/efi", "/boot"];

/// `why` the ESP cannot be read.
pub(super) fn none(why: &Error) -> Finding {
    Finding::error("no-esp", why.to_string())
        .because("the boot entries and Abide's state are on the ESP")
        .remedy("connect the disk with the ESP from which the boot loader was started, or repair that ESP")
}

/// An ESP that is mounted read-only.
pub(super) fn read_only(root: &Root) -> Option<Finding> {
    let at = mounted_read_only(&mounted::read(root))?;
    Some(
        Finding::error("esp-read-only", format!("the ESP is mounted read-only at {at}"))
            .because("nothing can be applied or committed; Linux remounts a damaged file system read-only")
            .remedy(format!(
                "find the reason in `journalctl -k`, then run: mount -o remount,rw {at}; fsck.vfat -n shows damage, see \
                 the documentation on crash safety before repairing it"
            )),
    )
}

/// A FAT that some firmware takes for another kind.
pub(super) fn few_clusters(machine: &Machine) -> Option<Finding> {
    machine.dirs.esp.has_few_clusters().is_ok_and(|has| has).then(|| {
        Finding::warning("esp-few-clusters", "the ESP is FAT32 with fewer than 65525 clusters")
            .because(
                "Linux reads it as FAT32, but some firmware takes it for FAT16 by its number of clusters, or refuses it \
                 (EDK2), and finds no boot loader",
            )
            .remedy(
                "create the ESP with smaller clusters, or enlarge it: with sectors of 4096 bytes, FAT32 needs at least 257 MiB",
            )
    })
}

/// Where an ESP is mounted with a file system that as a whole is read-only.
fn mounted_read_only(mounts: &[MountInfo]) -> Option<String> {
    let is_read_only = |mount: &&MountInfo| {
        let is_esp = ESP_DIRS.iter().any(|dir| mount.mount_point.as_os_str() == *dir);
        is_esp && mount.fs_type == "vfat" && mount.super_options.contains_key("ro")
    };
    mounts.iter().find(is_read_only).map(|mount| mount.mount_point.display().to_string())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn an_esp_counts_as_read_only_when_its_file_system_is() {
        let line = |at: &str, mount: &str, fs: &str| {
            let line = format!("30 1 8:1 / {at} {mount} - vfat /dev/sda1 {fs},umask=0077");
            [MountInfo::from_line(&line).unwrap()]
        };
        assert_eq!(mounted_read_only(&line("/efi", "rw", "ro")).as_deref(), Some("/efi"));
        assert_eq!(mounted_read_only(&line("/efi", "ro", "rw")), None);
        assert_eq!(mounted_read_only(&line("/media/stick", "rw", "ro")), None);
    }
}

//! An ESP that systemd mounts when it is first accessed: by `systemd-gpt-auto-generator`, or `x-systemd.automount` in fstab.
//!
//! If somebody else accessed the directory while Abide has the ESP mounted privately, systemd would start `fsck.vfat` on it,
//! which writes to what Abide is changing. So Abide changes such an ESP through the automount, and keeps it mounted.

use std::fs::File;
use std::path::PathBuf;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use log::{debug, warn};
use procfs::process::MountInfo;

use crate::mounts;
use crate::root::Root;

/// How long to wait for the mount, which may wait for a check of the file system.
const PATIENCE: Duration = Duration::from_secs(30);

/// The type of a directory that mounts something when it is opened.
const AUTOFS: &str = "autofs";

/// Which of `dirs` to open so that the partition `devno` may become mounted: none if it is mounted, else those with
/// an automount on which nothing is mounted yet. What each will mount is not known before.
pub(super) fn to_open<'d>(mounts: &[MountInfo], devno: &str, dirs: &[&'d str]) -> Vec<&'d str> {
    if mounts.iter().any(|mount| mount.majmin == devno) {
        return vec![];
    }
    let is_waiting = |dir: &&&str| mounts::at(mounts, dir).is_some_and(|top| top.fs_type == AUTOFS);
    dirs.iter().filter(is_waiting).copied().collect()
}

/// Whether a mount would end by itself after a while without access.
pub(super) fn may_expire(mounts: &[MountInfo], mount: &MountInfo) -> bool {
    mounts.iter().any(|other| other.fs_type == AUTOFS && other.mount_point == mount.mount_point)
}

/// Opens such directories until the partition is mounted; the mounts as they are then. `None` if there is nothing to open.
pub(super) fn trigger(
    root: &Root,
    mounts: &[MountInfo],
    devno: &str,
    dirs: &[&str],
) -> Option<Vec<MountInfo>> {
    let mut now = None;
    for dir in to_open(mounts, devno, dirs) {
        debug!("{dir}: waiting for its automount");
        if let Err(e) = open(root.path(dir)) {
            warn!("{dir}: cannot mount it through its automount: {e}; mounting the ESP privately");
            continue;
        }
        let found = mounts::read(root).ok()?;
        let is_it = found.iter().any(|mount| mount.majmin == devno);
        now = Some(found);
        if is_it {
            break;
        }
    }
    now
}

/// Opens a directory, but does not wait forever: systemd may be unable to mount anything now.
fn open(dir: PathBuf) -> Result<(), String> {
    let (sender, receiver) = mpsc::channel();
    let wait = move || {
        // After the time limit the receiver is gone, and the result is not needed.
        sender.send(File::open(dir).map(drop).map_err(|e| e.to_string())).ok();
    };
    thread::Builder::new().spawn(wait).map_err(|e| format!("cannot start a thread: {e}"))?;
    receiver.recv_timeout(PATIENCE).unwrap_or_else(|_| Err("no answer".into()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const DIRS: [&str; 3] = ["/efi", "/boot/efi", "/boot"];

    fn mounts(lines: &[&str]) -> Vec<MountInfo> {
        lines.iter().map(|line| MountInfo::from_line(line).unwrap()).collect()
    }

    const EFI: &str = "31 22 0:30 / /efi rw,relatime shared:5 - autofs systemd-1 rw,fd=40,timeout=120,direct";
    const BOOT: &str = "32 22 0:31 / /boot rw,relatime shared:6 - autofs systemd-1 rw,fd=41,timeout=0,direct";
    const HOME: &str = "33 22 0:32 / /home rw,relatime shared:7 - autofs systemd-1 rw,fd=42,timeout=0,direct";
    const VFAT: &str = "60 31 259:1 / /efi rw,relatime shared:8 - vfat /dev/nvme0n1p1 rw,fmask=0077";

    #[test]
    fn an_automount_that_waits_at_a_place_of_the_esp_is_opened() {
        assert_eq!(to_open(&mounts(&[EFI, BOOT, HOME]), "259:1", &DIRS), ["/efi", "/boot"]);
        assert_eq!(to_open(&mounts(&[HOME]), "259:1", &DIRS), [""; 0]);
    }

    #[test]
    fn nothing_is_opened_once_the_esp_is_mounted_anywhere() {
        assert_eq!(to_open(&mounts(&[EFI, BOOT, VFAT]), "259:1", &DIRS), [""; 0]);
        // Another partition is mounted there.
        assert_eq!(to_open(&mounts(&[EFI, BOOT, VFAT]), "8:1", &DIRS), ["/boot"]);
    }

    #[test]
    fn only_a_mount_on_an_automount_may_end_by_itself() {
        let with = mounts(&[EFI, VFAT]);
        assert!(may_expire(&with, with.last().unwrap()));
        let without = mounts(&[BOOT, VFAT]);
        assert!(!may_expire(&without, without.last().unwrap()));
    }

    #[test]
    fn a_directory_that_cannot_be_opened_leaves_the_mounts_as_they_were() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::at(dir.path());
        assert_eq!(trigger(&root, &mounts(&[EFI]), "259:1", &DIRS).map(|all| all.len()), None);
    }

    #[test]
    fn after_an_automount_the_mounts_are_read_again() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("proc/self")).unwrap();
        std::fs::create_dir_all(dir.path().join("efi")).unwrap();
        std::fs::write(dir.path().join("proc/self/mountinfo"), format!("{EFI}\n{BOOT}\n{VFAT}\n")).unwrap();
        let now = trigger(&Root::at(dir.path()), &mounts(&[EFI, BOOT]), "259:1", &DIRS).unwrap();
        assert_eq!(now.len(), 3);
    }
}

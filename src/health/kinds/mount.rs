//! `kind = "mount"`: a file system is mounted as configured.

use std::path::Path;
use std::time::Duration;

use procfs::process::{MountInfo, Process};

use crate::config::kinds::MountCheck;
use crate::health::probe::{Probe, ProbeResult};
use abide_core::root::Root;

/// The check.
#[derive(Debug)]
pub struct MountProbe {
    config: MountCheck,
    root: Root,
}

impl MountProbe {
    /// A check of the mounts of `root`.
    #[must_use]
    pub fn new(config: &MountCheck, root: &Root) -> Self {
        Self { config: config.clone(), root: root.clone() }
    }
}

impl Probe for MountProbe {
    fn run(&mut self, _limit: Duration) -> ProbeResult {
        let mounts = Process::new_with_root(self.root.path("/proc/self")).and_then(|own| own.mountinfo());
        let problem = match mounts {
            Ok(mounts) => problem(&self.config, mounts.iter()),
            Err(e) => Some(format!("cannot be accessed: {e}")),
        };
        problem.map_or(ProbeResult::Pass, |problem| {
            ProbeResult::NotYet(format!("{} {problem}", self.config.path))
        })
    }
}

fn problem<'m>(config: &MountCheck, mounts: impl Iterator<Item = &'m MountInfo>) -> Option<String> {
    // Of several on one mount point the last one is on top.
    let Some(mount) = mounts.filter(|m| m.mount_point == Path::new(&config.path)).last() else {
        return Some("is not mounted".into());
    };
    if mount.fs_type == "autofs" {
        return Some("is not mounted yet".into());
    }
    if let Some(wanted) = &config.fs_type
        && *wanted != mount.fs_type
    {
        return Some(format!("is of type {}, not {wanted}", mount.fs_type));
    }
    // A file system that ran into an error becomes read-only as a whole, not just where it is mounted.
    let is_read_only = mount.mount_options.contains_key("ro") || mount.super_options.contains_key("ro");
    (config.writable && is_read_only).then(|| "is read-only".into())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn told(path: &str, fs_type: Option<&str>, writable: bool) -> Option<String> {
        let text = "36 35 98:0 / / rw,noatime shared:1 - ext4 /dev/root rw\n\
                    37 36 98:1 / /data rw,noatime - ext4 /dev/vda4 ro,errors=remount-ro\n\
                    38 36 0:30 / /efi rw,relatime - autofs systemd-1 rw,fd=40\n";
        let mounts: Vec<MountInfo> = text.lines().map(|line| MountInfo::from_line(line).unwrap()).collect();
        let config = MountCheck { path: path.into(), fs_type: fs_type.map(Into::into), writable };
        problem(&config, mounts.iter())
    }

    #[test]
    fn a_mount_is_found_with_its_type() {
        assert_eq!(told("/", Some("ext4"), true), None);
        assert_eq!(told("/", Some("erofs"), false).unwrap(), "is of type ext4, not erofs");
        assert_eq!(told("/var", None, false).unwrap(), "is not mounted");
    }

    #[test]
    fn an_automount_that_nobody_used_is_not_mounted_yet() {
        assert_eq!(told("/efi", None, false).unwrap(), "is not mounted yet");
    }

    #[test]
    fn a_file_system_that_went_read_only_is_noticed_where_it_must_be_written() {
        assert_eq!(told("/data", None, true).unwrap(), "is read-only");
        assert_eq!(told("/data", None, false), None);
    }
}

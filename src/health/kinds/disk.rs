//! `kind = "disk"`: a file system has free space and can be written.

use std::time::Duration;

use nix::sys::statvfs::{FsFlags, Statvfs, statvfs};

use crate::config::kinds::DiskCheck;
use crate::health::probe::{Probe, ProbeResult};
use abide_core::root::Root;

/// The check.
#[derive(Debug)]
pub struct DiskProbe {
    config: DiskCheck,
    root: Root,
}

/// The values of statvfs(3) that are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Room {
    free: u64,
    size: u64,
    inodes: u64,
    is_read_only: bool,
}

impl DiskProbe {
    /// A check of a file system of `root`.
    #[must_use]
    pub fn new(config: &DiskCheck, root: &Root) -> Self {
        Self { config: config.clone(), root: root.clone() }
    }
}

impl Probe for DiskProbe {
    fn run(&mut self, _limit: Duration) -> ProbeResult {
        let problem = match statvfs(&self.root.path(&self.config.path)) {
            Ok(stat) => problem(&self.config, Room::of(&stat)),
            Err(e) => Some(format!("cannot be accessed: {e}")),
        };
        problem.map_or(ProbeResult::Pass, |problem| {
            ProbeResult::NotYet(format!("{} {problem}", self.config.path))
        })
    }
}

impl Room {
    fn of(stat: &Statvfs) -> Self {
        let block = stat.fragment_size();
        Self {
            free: stat.blocks_available().saturating_mul(block),
            size: stat.blocks().saturating_mul(block),
            inodes: stat.files_available(),
            is_read_only: stat.flags().contains(FsFlags::ST_RDONLY),
        }
    }
}

fn problem(config: &DiskCheck, room: Room) -> Option<String> {
    if config.writable && room.is_read_only {
        return Some("is on a read-only file system".into());
    }
    let mib = |bytes: u64| bytes >> 20;
    if let Some(least) = config.free
        && room.free < least
    {
        return Some(format!("has {} MiB free, {} MiB are needed", mib(room.free), mib(least)));
    }
    if let Some(least) = config.free_percent {
        let percent = u128::from(room.free) * 100 / u128::from(room.size.max(1));
        if percent < u128::from(least) {
            return Some(format!("has {percent} % free, {least} % are needed"));
        }
    }
    match config.free_inodes {
        Some(least) if room.inodes < least => {
            Some(format!("has room for {} more files, {least} are needed", room.inodes))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn check(free: Option<u64>, free_percent: Option<u32>, free_inodes: Option<u64>) -> DiskCheck {
        DiskCheck { path: "/".into(), free, free_percent, free_inodes, writable: true }
    }

    const ROOM: Room = Room { free: 10 << 20, size: 200 << 20, inodes: 7, is_read_only: false };

    #[test]
    fn too_little_room_of_any_kind_is_told() {
        assert_eq!(problem(&check(Some(10 << 20), Some(5), Some(7)), ROOM), None);
        let told = |check| problem(&check, ROOM).unwrap();
        assert_eq!(told(check(Some(11 << 20), None, None)), "has 10 MiB free, 11 MiB are needed");
        assert_eq!(told(check(None, Some(6), None)), "has 5 % free, 6 % are needed");
        assert_eq!(told(check(None, None, Some(8))), "has room for 7 more files, 8 are needed");
    }

    #[test]
    fn a_file_system_that_went_read_only_is_told() {
        let room = Room { is_read_only: true, ..ROOM };
        assert_eq!(problem(&check(None, None, None), room).unwrap(), "is on a read-only file system");
        assert_eq!(problem(&DiskCheck { writable: false, ..check(None, None, None) }, room), None);
    }

    #[test]
    fn a_path_that_is_not_there_does_not_pass() {
        let config = DiskCheck { path: "/no/such".into(), ..check(None, None, None) };
        let result = DiskProbe::new(&config, &Root::live()).run(Duration::from_secs(1));
        assert!(matches!(result, ProbeResult::NotYet(_)));
    }
}

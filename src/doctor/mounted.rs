//! What is mounted, as far as that can be read.

use procfs::process::MountInfo;

use abide_core::mounts;
use abide_core::root::Root;

pub(super) fn read(root: &Root) -> Vec<MountInfo> {
    mounts::read(root).unwrap_or_else(|e| {
        log::debug!("{e}");
        Vec::new()
    })
}

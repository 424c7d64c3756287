//! What is mounted where, from the procfs of any tree.

use procfs::FromRead;
use procfs::process::{MountInfo, MountInfos};

use crate::error::{OrError, Result};
use crate::root::Root;

const MOUNTINFO: &str = "/proc/self/mountinfo";

/// The mounts that this process sees, in the kernel's order: a later one covers an earlier one.
///
/// # Errors
/// [`crate::error::Error::Failed`] if the table cannot be read or parsed.
pub fn read(root: &Root) -> Result<Vec<MountInfo>> {
    let path = root.path(MOUNTINFO);
    let mounts = MountInfos::from_file(&path).or_failed(|| format!("{}: cannot read", path.display()))?;
    Ok(mounts.0)
}

/// The topmost mount at exactly this mount point.
#[must_use]
pub fn at<'m>(mounts: &'m [MountInfo], mount_point: &str) -> Option<&'m MountInfo> {
    mounts.iter().rfind(|mount| mount.mount_point.as_os_str() == mount_point)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_topmost_mount_counts() {
        let dir = tempfile::tempdir().unwrap();
        let text = "1 0 0:2 / / rw - rootfs rootfs rw\n\
                    22 1 8:2 / / ro,relatime shared:1 - ext4 /dev/sda2 ro\n\
                    23 22 8:1 / /efi rw - vfat /dev/sda1 rw\n";
        std::fs::create_dir_all(dir.path().join("proc/self")).unwrap();
        std::fs::write(dir.path().join(MOUNTINFO.trim_start_matches('/')), text).unwrap();
        let mounts = read(&Root::at(dir.path())).unwrap();
        let device = |mount_point| at(&mounts, mount_point).map(|mount| mount.majmin.as_str());
        assert_eq!(device("/"), Some("8:2"));
        assert_eq!(device("/efi"), Some("8:1"));
        assert_eq!(device("/sysroot"), None);
    }

    #[test]
    fn a_tree_without_procfs_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        assert!(read(&Root::at(dir.path())).unwrap_err().to_string().contains("mountinfo: cannot read"));
    }
}

//! What the running kernel says of itself.

use std::fs;
use std::io::ErrorKind;

use crate::boot::model::osrel::OsRelease;
use crate::error::{Error, Result};
use crate::root::Root;

/// Of what started the kernel (Linux, `Documentation/admin-guide/sysctl/kernel.rst`); x86 only.
const LOADER_TYPE: &str = "/proc/sys/kernel/bootloader_type";
/// The type that kexec states of itself, in the upper bits (`arch/x86/kernel/kexec-bzimage64.c`; kexec-tools
/// alike). The EFI stub states 2.
const KEXEC: u32 = 0xd;
/// Where a device tree says what the kernel was started with.
const CHOSEN: &str = "/proc/device-tree/chosen";
/// Left there by `kexec_file_load` (`drivers/of/kexec.c`); by the older system call it is not.
const BOOTED_FROM_KEXEC: &str = "linux,booted-from-kexec";

/// Where the initramfs mounts the root.
pub const SYSROOT: &str = "/sysroot";

/// Whether another kernel has started this one; none where the kernel does not tell.
#[must_use]
pub fn started_by_kexec(root: &Root) -> Option<bool> {
    let number = fs::read_to_string(root.path(LOADER_TYPE)).ok();
    if let Some(number) = number.and_then(|text| text.trim().parse::<u32>().ok()) {
        return Some(number >> 4 == KEXEC);
    }
    root.path(CHOSEN).join(BOOTED_FROM_KEXEC).exists().then_some(true)
}

/// Where the system is mounted that runs, or that the initramfs has mounted.
#[must_use]
pub fn system_mount(root: &Root) -> &'static str {
    if root.is_initramfs() { SYSROOT } else { "/" }
}

/// The version of the system that runs, or that the initramfs has mounted, as its os-release states it: by the rule by
/// which the loader takes an entry's version from a UKI, so that the two can be compared.
#[must_use]
pub fn running_version(root: &Root) -> Option<String> {
    let system = if root.is_initramfs() { Root::at(root.path(SYSROOT)) } else { root.clone() };
    os_release(&system)?.entry_version().map(str::to_owned)
}

/// The os-release of a system (os-release(5)): that of the image, since an overlay may keep a copy of an older one
/// in `/etc`.
#[must_use]
pub fn os_release(system: &Root) -> Option<OsRelease> {
    read_os_release(system).ok()
}

/// As [`os_release`].
///
/// # Errors
/// [`Error::Failed`] with the cause. On a damaged file system, or one that dm-verity refuses, the file may be there.
pub fn read_os_release(system: &Root) -> Result<OsRelease> {
    let mut cause = None;
    for path in ["/usr/lib/os-release", "/etc/os-release"] {
        match fs::read_to_string(system.resolve(path)?) {
            Ok(text) => return Ok(OsRelease::parse(&text)),
            Err(e) if e.kind() == ErrorKind::NotFound => {}
            Err(e) => cause = cause.or(Some(format!("{path} cannot be read: {e}"))),
        }
    }
    Err(Error::Failed(cause.unwrap_or_else(|| "no os-release".into())))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn tree(files: &[(&str, &str)]) -> (tempfile::TempDir, Root) {
        let dir = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let root = Root::at(dir.path());
        (dir, root)
    }

    #[test]
    fn kexec_is_told_by_the_type_of_the_loader_or_by_the_device_tree() {
        let (_dir, root) = tree(&[("proc/sys/kernel/bootloader_type", "208\n")]);
        assert_eq!(started_by_kexec(&root), Some(true));
        let (_dir, root) = tree(&[("proc/sys/kernel/bootloader_type", "33\n")]);
        assert_eq!(started_by_kexec(&root), Some(false));
        let (_dir, root) = tree(&[("proc/device-tree/chosen/linux,booted-from-kexec", "")]);
        assert_eq!(started_by_kexec(&root), Some(true));
        let (_dir, root) = tree(&[("proc/device-tree/chosen/bootargs", "")]);
        assert_eq!(started_by_kexec(&root), None);
    }

    #[test]
    fn in_an_initramfs_the_version_is_that_of_the_mounted_root() {
        let own = ("etc/os-release", "IMAGE_VERSION=1.0\n");
        let (_dir, root) = tree(&[own]);
        assert_eq!(running_version(&root).as_deref(), Some("1.0"));
        let (_dir, root) = tree(&[own, ("etc/initrd-release", "")]);
        assert_eq!(running_version(&root), None);
        let mounted = ("sysroot/usr/lib/os-release", "VERSION_ID=2.0\n");
        let (_dir, root) = tree(&[own, ("etc/initrd-release", ""), mounted]);
        assert_eq!(running_version(&root).as_deref(), Some("2.0"));
    }

    #[test]
    fn an_os_release_that_cannot_be_read_is_not_called_missing() {
        let (dir, root) = tree(&[]);
        assert_eq!(read_os_release(&root).unwrap_err().to_string(), "no os-release");
        // Reading a folder fails as reading a damaged file does.
        fs::create_dir_all(dir.path().join("usr/lib/os-release")).unwrap();
        let why = read_os_release(&root).unwrap_err().to_string();
        assert!(why.starts_with("/usr/lib/os-release cannot be read: "), "{why}");
    }

    #[test]
    fn the_version_is_that_of_the_image_and_not_of_a_copy_in_an_overlay() {
        let (_dir, root) =
            tree(&[("etc/os-release", "IMAGE_VERSION=1.0\n"), ("usr/lib/os-release", "IMAGE_VERSION=2.0\n")]);
        assert_eq!(running_version(&root).as_deref(), Some("2.0"));
    }
}

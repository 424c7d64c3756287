//! Where the boot partitions are.

use log::{debug, info, warn};
use procfs::process::{MountInfo, Process};

use crate::boot::efi::loader_vars::LoaderVars;
use crate::boot::esp::directory_end;
use crate::boot::esp::dirs::{Access, BootDirs};
use crate::boot::esp::fat::FatVolume;
use crate::boot::esp::partitions;
use crate::boot::esp::partitions::{ESP_TYPE, Part, XBOOTLDR_TYPE};
use crate::boot::esp::volume::{DirVolume, Volume};
use crate::boot::model::entry::{CONF_DIR, UKI_DIR};
use crate::error::{Error, OrError, Result};
use crate::root::Root;
use crate::sys;

/// Where an ESP may be in a tree, in order (`--root`; also where systemd mounts it).
const ESP_DIRS: [&str; 3] = ["/efi", "/boot/efi", "/boot"];

pub(super) fn find(root: &Root, vars: &LoaderVars, access: Access) -> Result<BootDirs> {
    if root.is_live() { find_live(root, vars, access) } else { find_in_tree(root) }
}

fn find_in_tree(root: &Root) -> Result<BootDirs> {
    let holds = |at: &str, what: &str| DirVolume::new(root.path(at)).path(what).is_dir();
    let Some(esp) = ESP_DIRS.into_iter().find(|dir| holds(dir, "EFI")) else {
        return Err(Error::Boot(format!(
            "no ESP: none of {} holds a folder EFI",
            ESP_DIRS.map(|dir| root.path(dir).display().to_string()).join(", ")
        )));
    };
    let boot = "/boot";
    let is_xbootldr = esp != boot && (holds(boot, "loader/entries") || holds(boot, "EFI/Linux"));
    let volume = |at: &str| Box::new(DirVolume::new(root.path(at))) as Box<dyn Volume>;
    Ok(BootDirs { esp: volume(esp), xbootldr: is_xbootldr.then(|| volume(boot)) })
}

fn find_live(root: &Root, vars: &LoaderVars, access: Access) -> Result<BootDirs> {
    let parts = partitions::list(root);
    let mounts = mounts();
    let esp = find_esp(root, &parts, vars.device_partuuid.as_deref(), &mounts)?;
    // The loader takes the XBOOTLDR of its own disk (`partition_open`, 252 to 262).
    let xbootldr = parts.iter().find(|p| p.disk == esp.disk && p.kind == XBOOTLDR_TYPE);
    let xbootldr = xbootldr.map(|part| volume(root, part, &mounts, access)).transpose();
    let xbootldr = xbootldr.unwrap_or_else(|e| {
        // It may be of a kind that the firmware cannot read either.
        warn!("XBOOTLDR is left out: {e}");
        None
    });
    Ok(BootDirs { esp: volume(root, esp, &mounts, access)?, xbootldr })
}

/// The ESP that the loader came from. Where no variable tells, the only one, or the one
/// on the disk of the root file system.
fn find_esp<'p>(
    root: &Root,
    parts: &'p [Part],
    partuuid: Option<&str>,
    mounts: &[MountInfo],
) -> Result<&'p Part> {
    if let Some(uuid) = partuuid {
        return parts.iter().find(|p| p.uuid == uuid).ok_or_else(|| {
            Error::Boot(format!("no partition {uuid}: the ESP that LoaderDevicePartUUID names is not there"))
        });
    }
    let esps: Vec<&Part> = parts.iter().filter(|p| p.kind == ESP_TYPE).collect();
    let found = match esps.as_slice() {
        [] => return Err(Error::Boot("no ESP: no disk has a partition of that type".into())),
        [only] => *only,
        several => {
            let disks: Vec<String> = ["/sysroot", "/usr", "/"]
                .iter()
                .filter_map(|at| mounts.iter().rfind(|m| m.mount_point.as_os_str() == *at))
                .filter_map(|m| partitions::disk_of(root, &m.majmin))
                .collect();
            let on_disk = disks.iter().find_map(|d| several.iter().find(|p| p.disk == *d));
            *on_disk.ok_or_else(|| {
                let names: Vec<&str> = several.iter().map(|p| p.name.as_str()).collect();
                Error::Boot(format!(
                    "which ESP is it: {}? LoaderDevicePartUUID does not tell",
                    names.join(", ")
                ))
            })?
        }
    };
    info!("LoaderDevicePartUUID does not name the ESP; taking /dev/{}", found.name);
    Ok(found)
}

/// All mounts, or none where procfs does not tell.
fn mounts() -> Vec<MountInfo> {
    match Process::myself().and_then(|me| me.mountinfo()) {
        Ok(mounts) => mounts.0,
        Err(e) => {
            warn!("/proc/self/mountinfo: cannot read: {e}");
            Vec::new()
        }
    }
}

/// Uses the mount that is there, else makes a private one.
fn volume(root: &Root, part: &Part, mounts: &[MountInfo], access: Access) -> Result<Box<dyn Volume>> {
    let mut read_only = None;
    for mount in mounts.iter().filter(|m| m.majmin == part.devno && m.root == "/") {
        // Another file system may be mounted over it.
        let on_top = nix::sys::stat::stat(&mount.mount_point).is_ok_and(|s| devno(s.st_dev) == part.devno);
        if !on_top {
            continue;
        }
        let writable = !mount.mount_options.contains_key("ro") && !mount.super_options.contains_key("ro");
        if writable || access != Access::Write {
            debug!("/dev/{} is mounted at {}", part.name, mount.mount_point.display());
            return Ok(Box::new(DirVolume::new(&mount.mount_point).on(part.node(root))));
        }
        if mount.super_options.contains_key("ro") {
            read_only = Some(mount.mount_point.clone());
        }
    }
    if let Some(at) = read_only {
        return Err(Error::Boot(format!(
            "{}: mounted read-only; run: mount -o remount,rw {}",
            at.display(),
            at.display()
        )));
    }
    let node = part.node(root);
    if access == Access::Glance {
        let fat = FatVolume::open(&node).or_boot(|| format!("{}: cannot read as FAT", node.display()))?;
        return Ok(Box::new(fat));
    }
    if access == Access::Write
        && let Err(e) = directory_end::clear(&node, &[UKI_DIR, CONF_DIR])
    {
        warn!("{}: cannot keep its folders short: {e}", node.display());
    }
    let mount = sys::mount_vfat(&node, access == Access::Read)
        .or_boot(|| format!("{}: cannot mount as vfat", node.display()))?;
    debug!("/dev/{} is mounted privately", part.name);
    Ok(Box::new(DirVolume::of_mount(mount).on(node)))
}

fn devno(dev: u64) -> String {
    format!("{}:{}", nix::sys::stat::major(dev), nix::sys::stat::minor(dev))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::boot::esp::partitions::tests::fake_disk;

    const A: &str = "aaaaaaaa-0000-4000-8000-000000000001";
    const B: &str = "bbbbbbbb-0000-4000-8000-000000000002";

    fn two_disks() -> (tempfile::TempDir, Vec<Part>) {
        let dir = tempfile::tempdir().unwrap();
        fake_disk(dir.path(), "sda", 8, &[(ESP_TYPE, A)]);
        fake_disk(dir.path(), "sdb", 9, &[(ESP_TYPE, B), (XBOOTLDR_TYPE, XBOOTLDR_TYPE)]);
        let parts = partitions::list(&Root::at(dir.path()));
        (dir, parts)
    }

    #[test]
    fn of_two_esps_only_the_one_that_the_loader_names_counts() {
        let (dir, parts) = two_disks();
        let found = find_esp(&Root::at(dir.path()), &parts, Some(B), &[]).unwrap();
        assert_eq!(found.name, "sdb1");
    }

    #[test]
    fn an_esp_that_is_named_and_not_there_is_an_error_although_another_is() {
        let (dir, parts) = two_disks();
        assert!(find_esp(&Root::at(dir.path()), &parts, Some(ESP_TYPE), &[]).is_err());
    }

    #[test]
    fn without_the_variable_two_esps_are_not_guessed_between() {
        let (dir, parts) = two_disks();
        assert!(find_esp(&Root::at(dir.path()), &parts, None, &[]).is_err());
        let one: Vec<Part> = parts.into_iter().filter(|p| p.disk == "sdb").collect();
        assert_eq!(find_esp(&Root::at(dir.path()), &one, None, &[]).unwrap().name, "sdb1");
    }

    #[test]
    fn in_a_tree_the_esp_is_the_folder_that_holds_efi_in_any_case() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("boot/efi/efi/linux")).unwrap();
        std::fs::write(dir.path().join("boot/efi/efi/linux/a.efi"), "x").unwrap();
        let dirs = find(&Root::at(dir.path()), &LoaderVars::default(), Access::Read).unwrap();
        assert_eq!(dirs.esp.list("EFI/Linux").unwrap().len(), 1);
        assert!(dirs.xbootldr.is_none());
    }

    #[test]
    fn in_a_tree_boot_beside_an_esp_is_xbootldr() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("efi/EFI")).unwrap();
        let find = || find(&Root::at(dir.path()), &LoaderVars::default(), Access::Read).unwrap();
        assert!(find().xbootldr.is_none());
        std::fs::create_dir_all(dir.path().join("boot/loader/entries")).unwrap();
        assert!(find().xbootldr.is_some());
    }

    #[test]
    fn a_tree_without_an_esp_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        assert!(find(&Root::at(dir.path()), &LoaderVars::default(), Access::Read).is_err());
    }
}

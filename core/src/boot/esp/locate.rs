//! Finding the boot partitions.

use std::fs;
use std::os::unix::fs::MetadataExt;

use log::{debug, info, warn};
use procfs::process::MountInfo;

use crate::boot::efi::loader_vars::LoaderVars;
use crate::boot::esp::directory_end;
use crate::boot::esp::dirs::{Access, BootDirs};
use crate::boot::esp::fat::FatVolume;
use crate::boot::esp::partitions;
use crate::boot::esp::partitions::{ESP_TYPE, TypedPartition, XBOOTLDR_TYPE};
use crate::boot::esp::volume::{DirVolume, Volume};
use crate::boot::model::entry::{CONF_DIR, UKI_DIR};
use crate::disk::block;
use crate::disk::block::Partition;
use crate::error::{Error, OrError, Result};
use crate::mounts;
use crate::root::Root;
use crate::sys;

/// Where an ESP may be in a tree, in order (`--root`; also where systemd mounts it).
const ESP_DIRS: [&str; 3] = ["/efi", "/boot/efi", "/boot"];

impl BootDirs {
    /// Finds the ESP and XBOOTLDR of `root`.
    ///
    /// Live, only the ESP that `LoaderDevicePartUUID` names counts; where it is not
    /// mounted, it is mounted privately for as long as this value lives. In a tree,
    /// it is whichever of `efi`, `boot/efi` and `boot` holds `EFI`.
    ///
    /// # Errors
    /// [`Error::Boot`] if there is no ESP or it cannot be mounted.
    pub fn find(root: &Root, vars: &LoaderVars, access: Access) -> Result<Self> {
        if root.is_live() { find_live(root, vars, access) } else { find_in_tree(root) }
    }
}

fn find_in_tree(root: &Root) -> Result<BootDirs> {
    let holds = |at: &str, what: &str| DirVolume::new(root.path(at)).path(what).is_dir();
    let Some(esp) = ESP_DIRS.into_iter().find(|dir| holds(dir, "EFI")) else {
        return Err(Error::Boot(format!(
            "no ESP: none of {} holds a directory EFI",
            ESP_DIRS.map(|dir| root.path(dir).display().to_string()).join(", ")
        )));
    };
    let boot = "/boot";
    let is_xbootldr = esp != boot && (holds(boot, "loader/entries") || holds(boot, "EFI/Linux"));
    let volume = |at: &str| Box::new(DirVolume::new(root.path(at))) as Box<dyn Volume>;
    Ok(BootDirs { esp: volume(esp), xbootldr: is_xbootldr.then(|| volume(boot)) })
}

fn find_live(root: &Root, vars: &LoaderVars, access: Access) -> Result<BootDirs> {
    let partitions = partitions::list(root);
    let mounts = mounts::read(root).unwrap_or_else(|e| {
        warn!("{e}");
        Vec::new()
    });
    let esp = find_esp(root, &partitions, vars.device_partuuid.as_deref(), &mounts)?;
    // The loader takes the XBOOTLDR of its own disk (`partition_open`, 252 to 262).
    let is_xbootldr = |p: &&TypedPartition| p.partition.disk == esp.partition.disk && p.kind == XBOOTLDR_TYPE;
    let xbootldr = partitions.iter().find(is_xbootldr);
    let xbootldr = xbootldr.map(|partition| volume(root, partition, &mounts, access)).transpose();
    let xbootldr = xbootldr.unwrap_or_else(|e| {
        // It may hold a file system that the firmware cannot read either.
        warn!("ignoring XBOOTLDR: {e}");
        None
    });
    Ok(BootDirs { esp: volume(root, esp, &mounts, access)?, xbootldr })
}

/// The ESP that the loader came from. If no variable names it: the only one, or the one on the disk of
/// the root file system.
fn find_esp<'p>(
    root: &Root,
    partitions: &'p [TypedPartition],
    partuuid: Option<&str>,
    mounts: &[MountInfo],
) -> Result<&'p TypedPartition> {
    if let Some(uuid) = partuuid {
        return partitions.iter().find(|p| p.uuid == uuid).ok_or_else(|| {
            Error::Boot(format!("no partition {uuid}: the ESP that LoaderDevicePartUUID names is missing"))
        });
    }
    let esps: Vec<&TypedPartition> = partitions.iter().filter(|p| p.kind == ESP_TYPE).collect();
    let found = match esps.as_slice() {
        [] => return Err(Error::Boot("no ESP: no disk has a partition of that type".into())),
        [only] => *only,
        several => on_root_disk(root, partitions, several, mounts).ok_or_else(|| {
            let nodes: Vec<&str> = several.iter().map(|p| p.partition.node.as_str()).collect();
            Error::Boot(format!(
                "cannot tell which ESP the loader came from ({}): LoaderDevicePartUUID is not set",
                nodes.join(", ")
            ))
        })?,
    };
    info!("LoaderDevicePartUUID does not name the ESP; using {}", found.partition.node);
    Ok(found)
}

/// The ESP on the disk of the root file system.
fn on_root_disk<'p>(
    root: &Root,
    partitions: &[TypedPartition],
    esps: &[&'p TypedPartition],
    mounts: &[MountInfo],
) -> Option<&'p TypedPartition> {
    ["/sysroot", "/usr", "/"].into_iter().filter_map(|at| mounts::at(mounts, at)).find_map(|mount| {
        let below = block::below(root, &mount.majmin);
        let disk = &partitions.iter().find(|p| below.contains(&p.partition.devno))?.partition.disk;
        esps.iter().find(|p| p.partition.disk == *disk).copied()
    })
}

/// Uses an existing mount, otherwise makes a private one.
fn volume(
    root: &Root,
    partition: &TypedPartition,
    mounts: &[MountInfo],
    access: Access,
) -> Result<Box<dyn Volume>> {
    let Partition { node: name, devno, .. } = &partition.partition;
    let node = root.path(name);
    let mut read_only = None;
    for mount in mounts.iter().filter(|m| m.majmin == *devno && m.root == "/") {
        // Another file system may be mounted over it.
        let on_top = fs::metadata(&mount.mount_point).is_ok_and(|meta| block::devno(meta.dev()) == *devno);
        if !on_top {
            continue;
        }
        let writable = !mount.mount_options.contains_key("ro") && !mount.super_options.contains_key("ro");
        if writable || access != Access::Write {
            debug!("{name} is mounted at {}", mount.mount_point.display());
            return Ok(Box::new(DirVolume::new(&mount.mount_point).on(node)));
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
    if access == Access::Glance {
        let fat = FatVolume::open(&node).or_boot(|| format!("{}: cannot read as FAT", node.display()))?;
        return Ok(Box::new(fat));
    }
    if access == Access::Write
        && let Err(e) = directory_end::clear(&node, &[UKI_DIR, CONF_DIR])
    {
        warn!("{}: cannot shorten its directories: {e}", node.display());
    }
    let mount = sys::mount_vfat(&node, access == Access::Read)
        .or_boot(|| format!("{}: cannot mount as vfat", node.display()))?;
    debug!("{name} is mounted privately");
    Ok(Box::new(DirVolume::of_mount(mount).on(node)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::disk::tests::FakeDisks;

    const A: &str = "aaaaaaaa-0000-4000-8000-000000000001";
    const B: &str = "bbbbbbbb-0000-4000-8000-000000000002";

    fn two_disks() -> (Root, FakeDisks, Vec<TypedPartition>) {
        let disks = FakeDisks::new()
            .disk("sda", &[(ESP_TYPE, A)])
            .disk("sdb", &[(ESP_TYPE, B), (XBOOTLDR_TYPE, XBOOTLDR_TYPE)]);
        let partitions = partitions::list(&disks.root());
        (disks.root(), disks, partitions)
    }

    fn node(found: Result<&TypedPartition>) -> Option<&str> {
        found.ok().map(|found| found.partition.node.as_str())
    }

    #[test]
    fn of_two_esps_only_the_one_that_the_loader_names_counts() {
        let (root, _disks, partitions) = two_disks();
        assert_eq!(node(find_esp(&root, &partitions, Some(B), &[])), Some("/dev/sdb1"));
    }

    #[test]
    fn an_esp_that_is_named_and_missing_is_an_error_although_another_is_there() {
        let (root, _disks, partitions) = two_disks();
        assert!(find_esp(&root, &partitions, Some(ESP_TYPE), &[]).is_err());
    }

    #[test]
    fn without_the_variable_the_esp_on_the_disk_of_the_root_is_taken() {
        let (root, disks, partitions) = two_disks();
        assert!(find_esp(&root, &partitions, None, &[]).is_err());
        let disks = disks.mapped("254:0", "sdb", 2);
        let mount = MountInfo::from_line("22 1 254:0 / / ro - ext4 /dev/mapper/root ro").unwrap();
        assert_eq!(node(find_esp(&root, &partitions, None, &[mount])), Some("/dev/sdb1"));
        drop(disks);
        let one: Vec<_> = partitions.into_iter().filter(|p| p.partition.disk == "sdb").collect();
        assert_eq!(node(find_esp(&root, &one, None, &[])), Some("/dev/sdb1"));
    }

    #[test]
    fn in_a_tree_the_esp_is_the_directory_that_holds_efi_in_any_case() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("boot/efi/efi/linux")).unwrap();
        std::fs::write(dir.path().join("boot/efi/efi/linux/a.efi"), "x").unwrap();
        let dirs = BootDirs::find(&Root::at(dir.path()), &LoaderVars::default(), Access::Read).unwrap();
        assert_eq!(dirs.esp.list("EFI/Linux").unwrap().len(), 1);
        assert!(dirs.xbootldr.is_none());
    }

    #[test]
    fn in_a_tree_boot_beside_an_esp_is_xbootldr() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("efi/EFI")).unwrap();
        let find = || BootDirs::find(&Root::at(dir.path()), &LoaderVars::default(), Access::Read).unwrap();
        assert!(find().xbootldr.is_none());
        std::fs::create_dir_all(dir.path().join("boot/loader/entries")).unwrap();
        assert!(find().xbootldr.is_some());
    }

    #[test]
    fn a_tree_without_an_esp_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        assert!(BootDirs::find(&Root::at(dir.path()), &LoaderVars::default(), Access::Read).is_err());
    }
}

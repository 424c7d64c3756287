//! Finding the boot partitions.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use log::{debug, info, warn};
use procfs::process::MountInfo;

use crate::boot::efi::loader_vars::LoaderVars;
use crate::boot::esp::dirs::{Access, BootDirs};
use crate::boot::esp::fat::FatVolume;
use crate::boot::esp::partitions;
use crate::boot::esp::partitions::{ESP_TYPE, TypedPartition, XBOOTLDR_TYPE};
use crate::boot::esp::volume::{DirVolume, Volume};
use crate::boot::esp::{array, automount, directory_end};
use crate::boot::model::entry::{CONF_DIR, UKI_DIR};
use crate::disk::block;
use crate::disk::block::Partition;
use crate::disk::{RootArg, links};
use crate::error::{Error, OrError, Result};
use crate::mounts;
use crate::root::Root;
use crate::sys;

/// Where an ESP may be in a tree, in order (`--root`; also where systemd mounts it).
const ESP_DIRS: [&str; 3] = ["/efi", "/boot/efi", "/boot"];
/// Where systemd mounts XBOOTLDR.
const XBOOTLDR_DIRS: &[&str] = &["/boot"];

impl BootDirs {
    /// Finds the ESP and XBOOTLDR of `root`.
    ///
    /// Live, only the ESP that `LoaderDevicePartUUID` names counts; where several have that GUID, the one on the
    /// disk of the root. Where it is not mounted, it is mounted privately for as long as this value lives. In a tree,
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

/// The ESP that the loader came from: the one that its variable names, else the only one. Of several that it may
/// be (a copy of the disk has the same GUIDs), the one on the disk of the root, else the only one that holds an
/// entry with this boot's root.
fn find_esp<'p>(
    root: &Root,
    partitions: &'p [TypedPartition],
    partuuid: Option<&str>,
    mounts: &[MountInfo],
) -> Result<&'p TypedPartition> {
    let esps: Vec<&TypedPartition> = match partuuid {
        Some(uuid) => partitions.iter().filter(|p| p.uuid == uuid).collect(),
        None => partitions.iter().filter(|p| p.kind == ESP_TYPE).collect(),
    };
    let found = match (esps.as_slice(), partuuid) {
        ([], Some(uuid)) => {
            return Err(Error::Boot(format!(
                "no partition {uuid}: the ESP that LoaderDevicePartUUID names is missing"
            )));
        }
        ([], None) => return Err(Error::Boot("no ESP: no disk has a partition of that type".into())),
        ([only], Some(_)) => return Ok(only),
        // In the initramfs another one may be still to come: not that of a stick which is there first.
        ([only], None) if root.is_initramfs() && !may_be_own(root, partitions, only, mounts) => {
            return Err(Error::Boot(format!(
                "{} is the only ESP so far, but the root is not on the same disk, and the ESP has no entry for this root",
                only.partition.node
            )));
        }
        ([only], None) => *only,
        (several, _) => {
            let of_root = || of_root(root, several);
            on_root_disk(root, partitions, several, mounts).or_else(of_root).ok_or_else(|| {
                let nodes: Vec<&str> = several.iter().map(|p| p.partition.node.as_str()).collect();
                Error::Boot(format!(
                    "cannot tell which ESP the loader came from ({}): {}; remove the disk that does not belong to \
                     this system",
                    nodes.join(", "),
                    partuuid.map_or_else(
                        || "LoaderDevicePartUUID is not set".to_owned(),
                        |uuid| format!("all have the GUID {uuid}, which LoaderDevicePartUUID names")
                    )
                ))
            })?
        }
    };
    info!("LoaderDevicePartUUID does not name one ESP; using {}", found.partition.node);
    Ok(found)
}

/// Whether a lone ESP may be that of this system: nothing says where the root is, or it is on the same disk, or the ESP
/// holds an entry for it.
fn may_be_own(
    root: &Root,
    partitions: &[TypedPartition],
    esp: &TypedPartition,
    mounts: &[MountInfo],
) -> bool {
    RootArg::parse(&root.kernel_cmdline()).is_none()
        || on_root_disk(root, partitions, &[esp], mounts).is_some()
        || of_root(root, &[esp]).is_some()
}

/// The ESP on the disk of the root: of the mounted one, else of the one that the kernel's command line names.
fn on_root_disk<'p>(
    root: &Root,
    partitions: &[TypedPartition],
    esps: &[&'p TypedPartition],
    mounts: &[MountInfo],
) -> Option<&'p TypedPartition> {
    let on = |disk: &String| {
        let mut there = esps.iter().filter(|p| p.partition.disk == *disk);
        there.next().filter(|_| there.next().is_none()).copied()
    };
    let mounted =
        ["/sysroot", "/usr", "/"].into_iter().filter_map(|at| mounts::at(mounts, at)).find_map(|mount| {
            let below = block::below(root, &mount.majmin);
            on(&partitions.iter().find(|p| below.contains(&p.partition.devno))?.partition.disk)
        });
    mounted.or_else(|| on(&disk_of_root_arg(root, partitions)?))
}

/// The disk of the root that the kernel's command line names, where only one has it.
fn disk_of_root_arg(root: &Root, partitions: &[TypedPartition]) -> Option<String> {
    let arg = RootArg::parse(&root.kernel_cmdline())?;
    let node = arg.link().and_then(|link| links::node_of(root, &link).ok());
    // Of two partitions with one GUID or label the link leads to one only.
    let is_it = |p: &&TypedPartition| match &arg {
        RootArg::PartUuid(uuid) => p.uuid == *uuid,
        RootArg::PartLabel(label) => p.partition.label == *label,
        _ => node.as_ref() == Some(&p.partition.node),
    };
    let named: Vec<&TypedPartition> = partitions.iter().filter(is_it).collect();
    match named.as_slice() {
        [only] => Some(only.partition.disk.clone()),
        _ => None,
    }
}

/// The only ESP with an entry that boots the root which the kernel's command line names.
fn of_root<'p>(root: &Root, esps: &[&'p TypedPartition]) -> Option<&'p TypedPartition> {
    let wanted = RootArg::parse(&root.kernel_cmdline())?;
    let boots_it = |esp: &&&TypedPartition| {
        let esp = FatVolume::open(&root.path(&esp.partition.node)).ok();
        let dirs = esp.map(|esp| BootDirs { esp: Box::new(esp), xbootldr: None });
        let entries =
            dirs.and_then(|dirs| dirs.entries(&LoaderVars::default().quirks()).ok()).unwrap_or_default();
        entries.iter().any(|e| e.options.as_deref().and_then(RootArg::parse).as_ref() == Some(&wanted))
    };
    let mut with_it = esps.iter().filter(boots_it);
    with_it.next().filter(|_| with_it.next().is_none()).copied()
}

/// Uses an existing mount or, to change it, that of an automount, otherwise makes a private one.
fn volume(
    root: &Root,
    partition: &TypedPartition,
    mounts: &[MountInfo],
    access: Access,
) -> Result<Box<dyn Volume>> {
    let is_mounted = mounts.iter().any(|mount| mount.majmin == partition.partition.devno);
    // Not the ESP's, which is tidied before it is mounted.
    let dirs = if partition.kind == XBOOTLDR_TYPE { XBOOTLDR_DIRS } else { &ESP_DIRS };
    let partition = &partition.partition;
    // What is mounted by itself is no member, whatever an array of before has left at its end.
    let used = if is_mounted { partition.clone() } else { array::through(root, partition, access)? };
    let Partition { node: name, devno, .. } = &used;
    let node = root.path(name);
    if access == Access::Write && !mounts.iter().any(|mount| mount.majmin == *devno) {
        // Before it is mounted in whatever way.
        if let Err(e) = directory_end::clear(&node, &[UKI_DIR, CONF_DIR]) {
            warn!("{}: cannot clear the unused directory entries: {e}", node.display());
        }
    }
    let has_automounts = access == Access::Write && !root.is_initramfs();
    let triggered = has_automounts.then(|| automount::trigger(root, mounts, devno, dirs)).flatten();
    let mounts = triggered.as_deref().unwrap_or(mounts);
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
            let volume = DirVolume::new(&mount.mount_point).on(node);
            let is_held = automount::may_expire(mounts, mount);
            let cannot = || format!("{}: cannot open", mount.mount_point.display());
            return Ok(Box::new(if is_held { volume.held().or_boot(cannot)? } else { volume }));
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
    unmounted(&node, access)
}

/// The volume of a device that is mounted nowhere, as far as this process sees.
fn unmounted(node: &Path, access: Access) -> Result<Box<dyn Volume>> {
    if access == Access::Glance {
        let fat = FatVolume::open(node).or_boot(|| format!("{}: cannot read as FAT", node.display()))?;
        return Ok(Box::new(fat));
    }
    let mount = sys::mount_vfat(node, access == Access::Read)
        .or_boot(|| format!("{}: cannot mount as vfat", node.display()))?;
    debug!("{} is mounted privately", node.display());
    Ok(Box::new(DirVolume::of_mount(mount).on(node.to_owned())))
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

    const ROOT: &str = "cccccccc-0000-4000-8000-000000000003";
    const LINUX: &str = "0fc63daf-8483-4772-8e79-3d69d8477de4";

    #[test]
    fn of_two_esps_with_one_guid_that_on_the_disk_of_the_root_is_taken_or_none() {
        let disks = FakeDisks::new()
            .disk("sda", &[(ESP_TYPE, A), (LINUX, ROOT)])
            .disk("sdb", &[(ESP_TYPE, A), (LINUX, ROOT)])
            .cmdline(&format!("root=PARTUUID={ROOT}"));
        let (root, partitions) = (disks.root(), partitions::list(&disks.root()));
        let why = find_esp(&root, &partitions, Some(A), &[]).unwrap_err().to_string();
        assert!(why.contains("/dev/sda1, /dev/sdb1"), "{why}");
        let line = format!("22 1 {} / / rw - ext4 /dev/sdb2 rw", FakeDisks::devno("sdb", 2));
        let mount = MountInfo::from_line(&line).unwrap();
        assert_eq!(node(find_esp(&root, &partitions, Some(A), &[mount])), Some("/dev/sdb1"));
    }

    #[test]
    fn in_the_initramfs_the_esp_of_a_stick_is_not_taken_for_being_first() {
        let disks = FakeDisks::new().disk("sdb", &[(ESP_TYPE, B)]).cmdline(&format!("root=PARTUUID={ROOT}"));
        let (root, partitions) = (disks.root(), partitions::list(&disks.root()));
        assert_eq!(node(find_esp(&root, &partitions, None, &[])), Some("/dev/sdb1"));
        std::fs::create_dir_all(disks.path("etc")).unwrap();
        std::fs::write(disks.path("etc/initrd-release"), "").unwrap();
        assert!(find_esp(&root, &partitions, None, &[]).is_err());
        let disks = disks.disk("sda", &[(ESP_TYPE, A), (LINUX, ROOT)]);
        let partitions = partitions::list(&disks.root());
        assert_eq!(node(find_esp(&disks.root(), &partitions, None, &[])), Some("/dev/sda1"));
    }

    #[test]
    fn before_the_root_is_mounted_its_disk_is_told_by_the_command_line() {
        let disks = FakeDisks::new()
            .disk("sda", &[(ESP_TYPE, A)])
            .disk("sdb", &[(ESP_TYPE, B), (LINUX, ROOT)])
            .cmdline(&format!("quiet root=PARTUUID={ROOT}"));
        let partitions = partitions::list(&disks.root());
        assert_eq!(node(find_esp(&disks.root(), &partitions, None, &[])), Some("/dev/sdb1"));
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

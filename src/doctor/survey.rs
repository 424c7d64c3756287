//! What `doctor` reads in addition to the machine's boot configuration. Unreadable parts are left out.

use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

use procfs::process::MountInfo;

use crate::doctor::boot_complete::OWN;
use crate::doctor::room::Space;
use crate::doctor::slots::mounts_of;
use crate::systemd::unit_files;
use crate::systemd::unit_files::UnitFile;
use crate::update::write::{EspSpace, SPARE};
use abide_core::boot::BootPartition;
use abide_core::disk::SlotName;
use abide_core::disk::block;
use abide_core::mounts;
use abide_core::root::Root;
use abide_core::state::{BootNote, State};
use abide_core::update::Machine;

const BLESSER: &str = "systemd-bless-boot.service";
const BLESSER_DROP_IN: &str = "systemd-bless-boot.service.d/10-abide.conf";
const ESP_DIRS: [&str; 3] = ["/efi", "/boot/efi", "/boot"];
/// Files whose time is that of a build, or of the last time at which the clock was right
/// (systemd-timesyncd.service(8), systemd(1)).
const DATED: [&str; 4] = [
    "/usr/lib/clock-epoch",
    "/usr/lib/os-release",
    "/var/lib/systemd/timesync/clock",
    "/var/lib/systemd/clock",
];

/// The facts beyond the boot configuration.
#[derive(Debug)]
pub(super) struct Surroundings {
    pub(super) stage_ran: bool,
    pub(super) own_units: Vec<UnitFile>,
    pub(super) required_units: Vec<(String, UnitFile)>,
    pub(super) blesser_kept_out: bool,
    pub(super) watchdogs: Vec<String>,
    pub(super) now: i64,
    pub(super) known_past: Option<i64>,
    pub(super) read_only_esp: Option<String>,
}

impl Surroundings {
    pub(super) fn read(root: &Root, machine: Option<&Machine>) -> Self {
        let required = unit_files::required_by(root, "boot-complete.target");
        Self {
            stage_ran: BootNote::read(root).is_some(),
            own_units: OWN.iter().map(|(unit, _)| unit_files::find(root, unit)).collect(),
            required_units: required
                .into_iter()
                .filter(|name| !OWN.iter().any(|(own, _)| own == name))
                .map(|name| (name.clone(), unit_files::find(root, &name)))
                .collect(),
            blesser_kept_out: !unit_files::exists(root, BLESSER) || unit_files::exists(root, BLESSER_DROP_IN),
            watchdogs: watchdogs(root),
            now: seconds(SystemTime::now()),
            known_past: known_past(root, machine.map(Machine::state).as_ref()),
            read_only_esp: read_only_esp(&read_mounts(root)),
        }
    }
}

/// Room on the ESP for the next UKI.
pub(super) fn space(machine: &Machine) -> Option<Space> {
    let room = EspSpace::of(machine.dirs.esp.as_ref()).ok()?;
    let largest = room.ukis.iter().filter(|(path, _)| is_uki(path)).map(|(_, len)| *len).max()?;
    let slots = machine.slots.as_ref();
    let other = machine.running_slot().ok().map(SlotName::other);
    let goes = |path: &str| {
        machine.entries.iter().any(|e| {
            let boots = slots.and_then(|slots| slots.of_cmdline(e.options.as_deref()?));
            e.partition == BootPartition::Esp && e.path() == path && other.is_some() && boots == other
        })
    };
    let freed: u64 = room.ukis.iter().filter(|(path, _)| goes(path)).map(|(_, len)| *len).sum();
    Some(Space { free: room.free.saturating_add(freed), largest, spare: SPARE })
}

fn is_uki(path: &str) -> bool {
    let path = path.to_ascii_lowercase();
    path.ends_with(".efi") || path.ends_with(".uki")
}

/// Where the other slot is mounted.
pub(super) fn mounts_of_other(machine: &Machine, running: Option<SlotName>) -> Vec<String> {
    let (Some(slots), Some(running)) = (&machine.slots, running) else { return vec![] };
    let slot = slots.get(running.other());
    let devno = block::devno_of(&slot.device);
    mounts_of(&read_mounts(&machine.root), &slot.node, devno.as_deref())
}

fn read_mounts(root: &Root) -> Vec<MountInfo> {
    mounts::read(root).unwrap_or_else(|e| {
        log::debug!("{e}");
        Vec::new()
    })
}

/// Where an ESP is mounted with a file system that as a whole is read-only.
fn read_only_esp(mounts: &[MountInfo]) -> Option<String> {
    let is_read_only = |mount: &&MountInfo| {
        let is_esp = ESP_DIRS.iter().any(|dir| mount.mount_point.as_os_str() == *dir);
        is_esp && mount.fs_type == "vfat" && mount.super_options.contains_key("ro")
    };
    mounts.iter().find(is_read_only).map(|mount| mount.mount_point.display().to_string())
}

fn watchdogs(root: &Root) -> Vec<String> {
    let class = "/sys/class/watchdog";
    let files = fs::read_dir(root.path(class)).into_iter().flatten().flatten();
    let mut devices: Vec<String> = files.filter_map(|file| file.file_name().into_string().ok()).collect();
    devices.sort();
    let identity = |device: &String| fs::read_to_string(root.path(format!("{class}/{device}/identity")));
    devices
        .iter()
        .map(|device| identity(device).map_or_else(|_| device.clone(), |name| name.trim().to_owned()))
        .collect()
}

fn known_past(root: &Root, state: Option<&State>) -> Option<i64> {
    let files =
        DATED.iter().filter_map(|path| fs::metadata(root.path(path)).ok()?.modified().ok()).map(seconds);
    let failures = state.into_iter().flat_map(|s| s.failures.iter().map(|f| f.time.as_str()));
    let ended = state.and_then(|s| s.update.as_ref()?.ended.as_deref());
    let recorded =
        failures.chain(ended).filter_map(|text| Some(text.parse::<jiff::Timestamp>().ok()?.as_second()));
    files.chain(recorded).max()
}

fn seconds(time: SystemTime) -> i64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |d| i64::try_from(d.as_secs()).unwrap_or(i64::MAX))
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
        assert_eq!(read_only_esp(&line("/efi", "rw", "ro")).as_deref(), Some("/efi"));
        assert_eq!(read_only_esp(&line("/efi", "ro", "rw")), None);
        assert_eq!(read_only_esp(&line("/media/stick", "rw", "ro")), None);
    }
}

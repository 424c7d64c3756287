//! `abide doctor` on trees: a machine on which everything is right, and one thing wrong at a time.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::fs;
use std::os::unix::fs::symlink;

use abide_testing::gpt_disk::GptDisk;
use abide_testing::secure_boot::{self, Keys};
use abide_testing::tree::{cmdline, partuuid};
use abide_testing::{Run, Tree, uki};
use efivar::boot::{BootEntry, BootEntryAttributes, EFIHardDrive, EFIHardDriveType, FilePath, FilePathList};
use serde_json::Value;

/// The units that `make install` brings.
const UNITS: [&str; 6] = [
    "abide-assess.service",
    "abide-commit.service",
    "abide-deadline.service",
    "abide-deadline.timer",
    "abide-rollback.service",
    "boot-complete.target",
];

fn write(tree: &Tree, path: &str, text: &str) {
    let path = tree.path(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

/// A machine without findings.
fn healthy() -> Tree {
    let mut tree = Tree::running("1.0");
    tree.set_variable("LoaderInfo", "systemd-boot 262-1");
    for unit in UNITS {
        write(&tree, &format!("usr/lib/systemd/system/{unit}"), "[Unit]\n");
    }
    let dropin = "usr/lib/systemd/system/systemd-bless-boot.service";
    write(&tree, dropin, "[Unit]\n");
    write(&tree, &format!("{dropin}.d/10-abide.conf"), "[Unit]\n");
    write(&tree, "sys/class/watchdog/watchdog0/identity", "i6300ESB timer\n");
    tree.boot_with_initrd("1.0");
    tree
}

fn doctor(tree: &Tree) -> Run {
    tree.abide(&["doctor", "--json"])
}

/// The ids of the findings, with the severities.
fn found(run: &Run) -> Vec<(String, String)> {
    let text = |finding: &Value, key: &str| finding[key].as_str().unwrap().to_owned();
    let json = run.json();
    json["findings"].as_array().unwrap().iter().map(|f| (text(f, "id"), text(f, "severity"))).collect()
}

#[track_caller]
fn finds(tree: &Tree, id: &str, severity: &str) -> Value {
    let run = doctor(tree).fails(i32::from(severity == "error"));
    assert_eq!(found(&run), [(id.to_owned(), severity.to_owned())]);
    let finding = run.json()["findings"][0].clone();
    for key in ["what", "cause", "remedy"] {
        assert!(!finding[key].as_str().unwrap().is_empty(), "{finding:#}");
    }
    finding
}

#[test]
fn a_machine_on_which_everything_is_right_is_ready() {
    let tree = healthy();
    let run = doctor(&tree).ok();
    assert_eq!(run.stdout, "{\"schema\":1,\"ready\":true,\"fixed\":[],\"findings\":[]}\n");
    let said = tree.abide(&["doctor"]).ok().stdout;
    assert_eq!(said, "no problem found that would prevent an update or a rollback\n");
}

#[test]
fn a_second_partition_table_before_the_end_of_the_disk_is_found() {
    let tree = healthy();
    for number in [2, 3] {
        let uevent = format!("MAJOR=8\nMINOR={number}\nDEVNAME=sda{number}\nPARTN={number}\n");
        write(&tree, &format!("sys/devices/sda/sda{number}/uevent"), &uevent);
        fs::create_dir_all(tree.path("sys/class/block")).unwrap();
        let link = tree.path(&format!("sys/class/block/sda{number}"));
        symlink(format!("../../devices/sda/sda{number}"), link).unwrap();
    }
    let mut disk = GptDisk::new(512).bytes();
    fs::write(tree.path("dev/sda"), &disk).unwrap();
    assert_eq!(found(&doctor(&tree).ok()), []);

    disk.resize(disk.len() + (1 << 20), 0);
    fs::write(tree.path("dev/sda"), &disk).unwrap();
    let finding = finds(&tree, "second-gpt", "warning");
    assert_eq!(finding["what"], "/dev/sda: the second partition table is before the end of the disk");
    assert_eq!(finding["remedy"], "run: sgdisk --move-second-header /dev/sda");
}

#[test]
fn it_changes_nothing() {
    let tree = healthy();
    tree.stage("2.0", "b");
    tree.abide(&["apply"]).ok();
    let before = tree.entries();
    let state = fs::read(tree.path("efi/EFI/abide/state.0")).unwrap();
    doctor(&tree).ok();
    assert_eq!(tree.entries(), before);
    assert_eq!(fs::read(tree.path("efi/EFI/abide/state.0")).unwrap(), state);
}

#[test]
fn a_default_in_loader_conf_is_an_error_that_apply_refuses_for() {
    let tree = healthy();
    write(&tree, "efi/loader/loader.conf", "default edge_1.0*\n");
    let finding = finds(&tree, "default-in-loader-conf", "error");
    assert_eq!(finding["fixable"], false);
    tree.stage("2.0", "b");
    tree.abide(&["apply"]).fails(6);
}

#[test]
fn a_default_in_a_variable_is_a_warning_that_can_be_put_right() {
    let tree = healthy();
    tree.set_variable("LoaderEntryDefault", "edge_1.0.efi");
    assert_eq!(finds(&tree, "default-in-variable", "warning")["fixable"], true);
    let run = tree.abide(&["doctor", "--json", "--fix"]).ok();
    assert_eq!(run.json()["fixed"][0], "the EFI variable LoaderEntryDefault is cleared");
    assert!(!tree.variable("LoaderEntryDefault").exists());
    assert!(found(&run).is_empty());
}

#[test]
fn a_one_shot_that_somebody_set_is_left_alone() {
    let tree = healthy();
    tree.set_variable("LoaderEntryOneShot", "edge_1.0.efi");
    tree.abide(&["doctor", "--fix"]).ok();
    assert!(tree.variable("LoaderEntryOneShot").exists());
}

#[test]
fn a_loader_that_is_not_systemd_boot_is_an_error() {
    let tree = healthy();
    tree.set_variable("LoaderInfo", "GRUB 2.12");
    finds(&tree, "loader-foreign", "error");
}

#[test]
fn one_entry_under_two_names_is_an_error() {
    let tree = healthy();
    fs::copy(tree.entry("edge_1.0.efi"), tree.entry("edge_1.0+3-0.efi")).unwrap();
    finds(&tree, "duplicate-entry", "error");
}

#[test]
fn one_entry_on_the_esp_and_on_xbootldr_is_an_error() {
    let tree = healthy();
    fs::create_dir_all(tree.path("boot/EFI/Linux")).unwrap();
    fs::copy(tree.entry("edge_1.0.efi"), tree.path("boot/EFI/Linux/edge_1.0.efi")).unwrap();
    let finding = finds(&tree, "duplicate-entry", "error");
    assert!(finding["what"].as_str().unwrap().contains("xbootldr"), "{finding:#}");
}

#[test]
fn addons_of_an_entry_that_does_not_exist_are_a_warning() {
    let tree = healthy();
    write(&tree, "efi/EFI/Linux/edge_1.0.efi.extra.d/debug.addon.efi", "MZ");
    assert!(found(&doctor(&tree).ok()).is_empty());
    write(&tree, "efi/EFI/Linux/edge_0.9+3-0.efi.extra.d/debug.addon.efi", "MZ");
    let finding = finds(&tree, "orphan-addons", "warning");
    assert!(finding["what"].as_str().unwrap().contains("EFI/Linux/edge_0.9+3-0.efi.extra.d"), "{finding:#}");
}

#[test]
fn a_check_of_the_esp_at_every_boot_is_a_warning() {
    let tree = healthy();
    write(&tree, "etc/fstab", "PARTLABEL=esp /efi vfat umask=0077 0 0\n");
    assert!(found(&doctor(&tree).ok()).is_empty());
    write(&tree, "etc/fstab", "PARTLABEL=esp /efi vfat umask=0077 0 2\n");
    finds(&tree, "esp-fsck", "warning");
}

#[test]
fn slots_of_unequal_size_are_a_warning() {
    let tree = healthy();
    fs::write(tree.path("dev/sda3"), vec![0; 1 << 19]).unwrap();
    finds(&tree, "slots-unequal", "warning");
}

#[test]
fn no_slots_are_an_error() {
    let tree = healthy();
    fs::remove_file(tree.path("dev/disk/by-partlabel/rootfs_b")).unwrap();
    let run = doctor(&tree).fails(1);
    assert!(found(&run).iter().any(|(id, _)| id == "no-slots"), "{}", run.stdout);
}

#[test]
fn a_running_slot_that_cannot_be_told_is_an_error() {
    let tree = healthy();
    write(&tree, "proc/cmdline", "root=PARTUUID=00000000-0000-4000-8000-0000000000ff panic=10");
    fs::write(tree.entry("edge_1.0.efi"), uki("edge", "1.0", "root=LABEL=other panic=10")).unwrap();
    let run = doctor(&tree).fails(1);
    assert!(found(&run).iter().any(|(id, _)| id == "running-slot-unknown"), "{}", run.stdout);
}

#[test]
fn a_running_system_without_a_boot_entry_is_an_error() {
    let tree = healthy();
    fs::write(tree.entry("edge_2.0.efi"), uki("edge", "2.0", &cmdline("b"))).unwrap();
    fs::remove_file(tree.entry("edge_1.0.efi")).unwrap();
    finds(&tree, "running-entry", "error");
}

#[test]
fn a_slot_that_is_mounted_is_an_error_with_the_command_that_helps() {
    let tree = healthy();
    write(&tree, "proc/self/mountinfo", "30 1 8:3 / /mnt/b rw - ext4 /dev/sda3 rw\n");
    assert_eq!(finds(&tree, "slot-mounted", "error")["remedy"], "umount /mnt/b");
}

#[test]
fn an_esp_that_has_become_read_only_is_an_error() {
    let tree = healthy();
    write(&tree, "proc/self/mountinfo", "30 1 8:1 / /efi rw - vfat /dev/sda1 ro,fmask=0022\n");
    finds(&tree, "esp-read-only", "error");
}

#[test]
fn a_uki_that_boots_a_root_which_is_no_slot_is_an_error() {
    let tree = healthy();
    let gone = "root=PARTUUID=00000000-0000-4000-8000-0000000000ff panic=10";
    fs::write(tree.entry("edge_0.9.efi"), uki("edge", "0.9", gone)).unwrap();
    finds(&tree, "wrong-root", "error");
    fs::write(tree.entry("edge_0.9.efi"), uki("rescue", "0.9", gone)).unwrap();
    finds(&tree, "wrong-root", "warning");
}

#[test]
fn two_systems_for_one_slot_are_an_error() {
    let tree = healthy();
    fs::write(tree.entry("edge_0.9.efi"), uki("edge", "0.9", &cmdline("a"))).unwrap();
    let finding = finds(&tree, "wrong-root", "error");
    assert!(finding["what"].as_str().unwrap().contains("edge_0.9.efi, edge_1.0.efi all boot slot a"));
}

#[test]
fn a_kernel_that_does_not_reboot_when_it_panics_is_an_error_on_trial() {
    let tree = healthy();
    let put = |name: &str, cmdline: &str| {
        fs::write(
            tree.entry(name),
            uki("edge", "2.0", &format!("root=PARTUUID={} {cmdline}", partuuid("b"))),
        )
        .unwrap();
    };
    put("edge_2.0+3-0.efi", "quiet panic=0");
    let finding = finds(&tree, "panic", "error");
    assert!(finding["what"].as_str().unwrap().contains("panic=0"), "{finding:#}");
    fs::remove_file(tree.entry("edge_2.0+3-0.efi")).unwrap();
    put("edge_2.0.efi", "quiet");
    finds(&tree, "panic", "warning");
}

#[test]
fn a_command_line_that_stops_for_a_person_is_found() {
    let tree = healthy();
    fs::write(tree.entry("edge_2.0+3-0.efi"), uki("edge", "2.0", &format!("{} rd.break", cmdline("b"))))
        .unwrap();
    finds(&tree, "command-line", "error");
}

#[test]
fn a_machine_without_a_hardware_watchdog_is_warned_about() {
    let tree = healthy();
    fs::remove_dir_all(tree.path("sys/class/watchdog")).unwrap();
    finds(&tree, "no-watchdog", "warning");
    write(&tree, "sys/class/watchdog/watchdog0/identity", "Software Watchdog\n");
    finds(&tree, "no-watchdog", "warning");
}

#[test]
fn an_initramfs_without_the_stage_is_warned_about() {
    let tree = healthy();
    fs::remove_file(tree.path("run/abide/boot.json")).unwrap();
    finds(&tree, "initramfs-stage", "warning");
    let with_late_note = healthy();
    write(&with_late_note, "run/abide/late", "");
    finds(&with_late_note, "initramfs-stage", "warning");
}

#[test]
fn a_trial_that_could_never_be_committed_is_an_error() {
    let tree = healthy();
    fs::create_dir_all(tree.path("etc/systemd/system")).unwrap();
    symlink("/dev/null", tree.path("etc/systemd/system/abide-commit.service")).unwrap();
    assert_eq!(finds(&tree, "boot-complete", "error")["remedy"], "systemctl unmask abide-commit.service");
    fs::remove_file(tree.path("etc/systemd/system/abide-commit.service")).unwrap();
    write(&tree, "etc/systemd/system/boot-complete.target.requires/gone.service", "");
    let finding = finds(&tree, "boot-complete", "error");
    assert!(finding["what"].as_str().unwrap().contains("gone.service"), "{finding:#}");
}

#[test]
fn a_blesser_that_is_not_kept_out_is_warned_about() {
    let tree = healthy();
    fs::remove_dir_all(tree.path("usr/lib/systemd/system/systemd-bless-boot.service.d")).unwrap();
    finds(&tree, "bless-boot", "warning");
}

#[test]
fn a_clock_that_is_far_off_is_a_warning() {
    let tree = healthy();
    write(&tree, "usr/lib/clock-epoch", "");
    let future = std::time::SystemTime::now() + std::time::Duration::from_secs(3 * 24 * 60 * 60);
    fs::File::options()
        .write(true)
        .open(tree.path("usr/lib/clock-epoch"))
        .unwrap()
        .set_modified(future)
        .unwrap();
    finds(&tree, "clock", "warning");
}

#[test]
fn a_mistake_in_the_configuration_is_an_error_and_does_not_hide_the_rest() {
    let tree = healthy();
    write(&tree, "etc/abide/abide.toml", "[asess]\n");
    fs::remove_dir_all(tree.path("sys/class/watchdog")).unwrap();
    let run = doctor(&tree).fails(1);
    let ids: Vec<String> = found(&run).into_iter().map(|(id, _)| id).collect();
    assert_eq!(ids, ["configuration", "no-watchdog"]);
}

#[test]
fn a_machine_without_an_esp_is_still_answered() {
    let tree = healthy();
    fs::remove_dir_all(tree.path("efi")).unwrap();
    finds(&tree, "no-esp", "error");
}

#[test]
fn people_are_told_what_why_and_what_to_do() {
    let tree = healthy();
    fs::remove_dir_all(tree.path("efi")).unwrap();
    let run = tree.abide(&["doctor"]).fails(1);
    assert!(run.stdout.starts_with("error    "), "{}", run.stdout);
    assert!(run.stdout.contains("\n  why    ") && run.stdout.contains("\n  do     "), "{}", run.stdout);
    assert_eq!(run.stderr, "abide: one problem would prevent an update or a rollback\n");
}

const ESP: &str = "aaaaaaaa-0000-4000-8000-000000000001";

/// A variable of the firmware itself.
fn firmware_variable(tree: &Tree, name: &str, data: &[u8]) {
    let path = tree.path(&format!("sys/firmware/efi/efivars/{name}-8be4df61-93ca-11d2-aa0d-00e098032b8c"));
    fs::write(path, [&[7, 0, 0, 0], data].concat()).unwrap();
}

/// A machine whose loader needs several firmware boot options and has one.
fn one_option() -> Tree {
    let tree = healthy();
    tree.set_variable("LoaderInfo", "systemd-boot 257.13");
    tree.set_variable("LoaderDevicePartUUID", &ESP.to_uppercase());
    let option = BootEntry {
        attributes: BootEntryAttributes::LOAD_OPTION_ACTIVE,
        description: "Linux Boot Manager".into(),
        file_path_list: Some(FilePathList {
            file_path: FilePath { path: "\\EFI\\systemd\\systemd-bootx64.efi".into() },
            hard_drive: EFIHardDrive {
                partition_number: 1,
                partition_start: 2048,
                partition_size: 4096,
                partition_sig: ESP.parse().unwrap(),
                format: 2,
                sig_type: EFIHardDriveType::Gpt,
            },
        }),
        optional_data: vec![],
    };
    firmware_variable(&tree, "Boot0001", &option.to_bytes());
    firmware_variable(&tree, "Boot0007", &[1, 0, 0, 0, 0, 0, 0, 0]);
    firmware_variable(&tree, "BootOrder", &[1, 0, 7, 0]);
    firmware_variable(&tree, "BootCurrent", &[1, 0]);
    tree
}

#[test]
fn too_few_firmware_boot_options_are_an_error_that_can_be_put_right() {
    let tree = one_option();
    let finding = finds(&tree, "firmware-options", "error");
    assert_eq!(finding["what"], "1 of 4 firmware boot options lead to the boot loader");
    tree.stage("2.0", "b");
    let said = tree.abide(&["apply"]).ok().stderr;
    assert!(said.contains("1 of 4 firmware boot options"), "{said}");
    let run = tree.abide(&["doctor", "--json", "--fix"]).ok();
    assert_eq!(run.json()["fixed"][0], "4 firmware boot options now lead to the boot loader");
    let order = tree.path("sys/firmware/efi/efivars/BootOrder-8be4df61-93ca-11d2-aa0d-00e098032b8c");
    assert_eq!(fs::read(order).unwrap(), [7, 0, 0, 0, 1, 0, 0, 0, 2, 0, 3, 0, 7, 0]);
    let said = tree.abide(&["apply"]).ok().stderr;
    assert!(!said.contains("firmware boot options"), "{said}");
}

#[test]
fn as_many_firmware_boot_options_are_needed_as_there_are_tries_and_one_more() {
    let tree = one_option();
    write(&tree, "etc/abide/abide.toml", "[assess]\ntries = 1\n");
    assert_eq!(
        finds(&tree, "firmware-options", "error")["what"],
        "1 of 2 firmware boot options lead to the boot loader"
    );
    tree.set_variable("LoaderInfo", "systemd-boot 258.1");
    doctor(&tree).ok();
}

#[test]
fn options_that_cannot_be_counted_are_a_warning() {
    let tree = one_option();
    fs::remove_file(tree.path("sys/firmware/efi/efivars/BootOrder-8be4df61-93ca-11d2-aa0d-00e098032b8c"))
        .unwrap();
    finds(&tree, "firmware-options-unknown", "warning");
    tree.abide(&["doctor", "--fix"]).ok();
}

#[test]
fn every_kind_of_finding_is_explained_and_every_explanation_is_of_one() {
    let top = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let sources =
        fs::read_dir(top.join("src/doctor")).unwrap().map(|f| fs::read_to_string(f.unwrap().path()).unwrap());
    let mut ids: Vec<String> = sources
        .flat_map(|text| {
            let calls = ["Finding::error(", "Finding::warning("]
                .map(|call| text.split(call).skip(1).map(str::to_owned).collect());
            let calls: Vec<String> = calls.into_iter().flat_map(|c: Vec<String>| c).collect();
            calls
                .into_iter()
                .filter_map(|call| Some(call.trim_start().strip_prefix('"')?.split('"').next()?.to_owned()))
        })
        .collect();
    ids.sort();
    ids.dedup();
    let page = fs::read_to_string(top.join("docs/reference/doctor.md")).unwrap();
    let mut rows: Vec<String> = page
        .lines()
        .filter_map(|line| Some(line.strip_prefix("| `")?.split('`').next()?.to_owned()))
        .collect();
    rows.sort();
    assert_eq!(ids, rows);
}

#[test]
fn a_way_back_that_the_firmware_would_not_start_is_an_error() {
    let keys = Keys::new(&["old", "new"]);
    let mut tree = healthy();
    tree.update("2.0", "b");
    for (file, version, slot, key) in
        [("edge_1.0.efi", "1.0", "a", "old"), ("edge_2.0.efi", "2.0", "b", "new")]
    {
        let signed = keys.sign(key, &[], &uki("edge", version, &cmdline(slot)));
        fs::write(tree.entry(file), signed).unwrap();
    }
    let set = |name: &str, data: &[u8]| secure_boot::set(&tree, name, data);
    set("SecureBoot", &[1]);
    set("db", &[keys.list("old"), keys.list("new")].concat());
    assert_eq!(found(&doctor(&tree).ok()), []);
    assert_eq!(tree.status()["loader"]["secure_boot"], true);
    set("dbx", &keys.list("old"));
    let finding = finds(&tree, "secure-boot", "error");
    let what = finding["what"].as_str().unwrap();
    assert!(what.contains("edge_1.0.efi: dbx revokes the certificate 'old'"), "{what}");
    set("dbx", &keys.list("new"));
    finds(&tree, "secure-boot-running", "warning");
    set("dbx", &[1; 40]);
    finds(&tree, "secure-boot-unknown", "warning");
}

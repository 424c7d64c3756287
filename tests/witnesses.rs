//! Machines on which the witnesses of a boot disagree: no command destroys anything, and each says why.

#![allow(clippy::indexing_slicing, clippy::unwrap_used)]

use std::fs;

use abide_core::state::State;
use abide_testing::tree::cmdline;
use abide_testing::{Image, Tree, uki};

/// Type 0xd in the upper bits: kexec.
const KEXEC: &str = "208\n";

fn write(tree: &Tree, path: &str, text: &str) {
    let path = tree.path(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

/// Every command that changes something refuses, leaves the entries as they are, and says `why`.
fn refuses_everything(tree: &Tree, why: &str) {
    let before = tree.entries();
    write(tree, "image.raw", "no matter");
    let image = tree.path("image.raw").display().to_string();
    for words in [&["write", &image][..], &["apply"], &["rollback"]] {
        let run = tree.abide(words).fails(6);
        assert!(run.stderr.contains(why), "{words:?}: {}", run.stderr);
    }
    let commit = tree.abide(&["commit", "--now"]);
    assert!([5, 6].contains(&commit.code), "{}", commit.stderr);
    assert_eq!(tree.entries(), before);
    let status = tree.status();
    assert_eq!(status["boot"]["kind"], "unknown", "{status:#}");
}

fn applied() -> Tree {
    let tree = Tree::running("1.0");
    tree.stage("2.0", "b");
    tree.abide(&["apply"]).ok();
    tree
}

/// Another kernel is started without the loader: its variables stay, `/run` does not.
fn kexec(tree: &Tree, slot: &str, loader_type: Option<&str>) {
    fs::remove_dir_all(tree.path("run")).unwrap_or_default();
    write(tree, "proc/cmdline", &cmdline(slot));
    write(tree, "proc/sys/kernel/random/boot_id", "after-kexec\n");
    if let Some(text) = loader_type {
        write(tree, "proc/sys/kernel/bootloader_type", text);
    }
}

#[test]
fn kexec_into_an_applied_update_is_no_try_of_it() {
    let tree = applied();
    kexec(&tree, "b", Some(KEXEC));
    tree.abide(&["initrd", "early"]).ok();
    refuses_everything(&tree, "kexec");
    assert_eq!(tree.entries(), ["edge_1.0.efi", "edge_2.0+3-0.efi"]);
}

#[test]
fn kexec_into_a_failed_update_is_not_committed() {
    let mut tree = applied();
    tree.boot_with_initrd("2.0");
    tree.abide(&["rollback"]).ok();
    tree.boot_with_initrd("1.0");
    kexec(&tree, "b", Some(KEXEC));
    tree.abide(&["initrd", "early"]).ok();
    refuses_everything(&tree, "failed before");
}

#[test]
fn a_kernel_that_does_not_tell_of_its_kexec_is_told_by_its_root() {
    let tree = applied();
    kexec(&tree, "b", None);
    tree.abide(&["initrd", "early"]).ok();
    refuses_everything(&tree, "boot loader reports that it started edge_1.0.efi");
}

#[test]
fn after_a_soft_reboot_neither_slot_is_written() {
    let mut tree = Tree::running("1.0");
    tree.update("2.0", "b");
    write(&tree, "proc/self/mountinfo", "36 1 8:2 / / rw - ext4 /dev/sda2 rw\n");
    refuses_everything(&tree, "mounted from slot a");
}

#[test]
fn a_trial_whose_state_is_lost_is_left_to_the_systems_own_blesser() {
    let mut tree = applied();
    tree.boot();
    tree.save(&State::default());
    tree.abide(&["initrd", "early"]).ok();
    refuses_everything(&tree, "counted by another tool, 2 tries left");
    tree.abide(&["assess", "--may-bless"]).ok();
    fs::rename(tree.entry("edge_2.0+2-1.efi"), tree.entry("edge_2.0.efi")).unwrap();
    assert_eq!(tree.status()["boot"]["kind"], "committed");
}

#[test]
fn nobody_else_blesses_a_trial_of_abide_or_what_a_stale_path_names() {
    let mut tree = applied();
    tree.boot_with_initrd("2.0");
    let run = tree.abide(&["assess", "--may-bless"]).fails(6);
    assert!(run.stderr.contains("try 1 of 3"), "{}", run.stderr);
    tree.abide(&["rollback"]).ok();
    tree.boot_with_initrd("1.0");
    tree.set_variable("LoaderBootCountPath", "\\EFI\\Linux\\edge_2.0+0-1.efi");
    tree.abide(&["assess", "--may-bless"]).fails(6);
}

#[test]
fn an_update_is_not_applied_for_a_loader_that_says_it_does_not_count() {
    let tree = Tree::running("1.0");
    tree.stage("2.0", "b");
    tree.set_loader_features(0xef);
    let run = tree.abide(&["apply"]).fails(6);
    assert!(run.stderr.contains("does not count boots"), "{}", run.stderr);
    assert_eq!(tree.entries(), ["edge_1.0.efi"]);
}

#[test]
fn without_the_initramfs_stage_the_finding_is_made_after_it() {
    let mut tree = applied();
    tree.boot();
    tree.abide(&["assess", "--find"]).ok();
    assert!(tree.path("run/abide/trial").exists());
    assert_eq!(tree.status()["boot"]["kind"], "trial");
    tree.abide(&["commit", "--now"]).ok();
    assert_eq!(tree.entries(), ["edge_1.0.efi", "edge_2.0.efi"]);
}

#[test]
fn a_counted_boot_whose_esp_never_appears_ends_like_a_trial() {
    let mut tree = applied();
    tree.boot();
    fs::rename(tree.path("efi"), tree.path("hidden")).unwrap();
    tree.abide(&["initrd", "guard"]).ok();
    tree.abide(&["initrd", "emergency"]).ok();
    assert!(tree.path("run/abide/trial").exists());
    fs::rename(tree.path("hidden"), tree.path("efi")).unwrap();
    tree.abide(&["initrd", "early"]).ok();
    assert_eq!(tree.status()["boot"]["kind"], "trial");
}

#[test]
fn a_committed_boot_whose_esp_never_appears_is_not_ended() {
    let tree = Tree::running("1.0");
    fs::rename(tree.path("efi"), tree.path("hidden")).unwrap();
    tree.abide(&["initrd", "guard"]).ok();
    tree.abide(&["initrd", "emergency"]).ok();
    assert!(!tree.path("run/abide/trial").exists() && !tree.path("run/abide/reboot-requested").exists());
}

#[test]
fn a_staged_update_is_cancelled() {
    let tree = Tree::running("1.0");
    tree.stage("2.0", "b");
    tree.abide(&["cancel"]).ok();
    assert!(!tree.path("efi/EFI/Linux/staged.uki").exists());
    assert!(tree.state().update.is_none());
    tree.abide(&["cancel"]).fails(5);
    tree.abide(&["apply"]).fails(5);
}

#[test]
fn an_applied_update_is_cancelled_before_its_first_boot_and_not_after() {
    let mut tree = applied();
    let run = tree.abide(&["cancel"]).ok();
    assert_eq!(run.stdout, "2.0 is cancelled; the running system boots next\n");
    assert_eq!(tree.entries(), ["edge_1.0.efi"]);
    assert_eq!(tree.boot_with_initrd("1.0"), "edge_1.0.efi");
    tree.stage("2.0", "b");
    tree.abide(&["apply"]).ok();
    tree.boot();
    tree.abide(&["initrd", "early"]).ok();
    tree.abide(&["cancel"]).fails(6);
    assert_eq!(tree.entries(), ["edge_1.0.efi", "edge_2.0+2-1.efi"]);
}

#[test]
fn a_cancelled_downgrade_gives_the_running_entry_its_name_back() {
    let mut tree = Tree::running("2.0");
    tree.stage("1.0", "b");
    tree.abide(&["apply"]).ok();
    assert_eq!(tree.entries(), ["edge_1.0+3-0.efi", "edge_2.0+0-0.efi"]);
    tree.abide(&["cancel"]).ok();
    assert_eq!(tree.entries(), ["edge_2.0.efi"]);
    assert_eq!(tree.boot_with_initrd("2.0"), "edge_2.0.efi");
    assert_eq!(tree.status()["boot"]["kind"], "committed");
}

#[test]
fn a_cancelled_rollback_to_the_other_system_leaves_it_good() {
    let mut tree = Tree::running("1.0");
    tree.update("2.0", "b");
    tree.abide(&["rollback"]).ok();
    let armed = tree.entries();
    assert_ne!(armed, ["edge_1.0.efi", "edge_2.0.efi"]);
    tree.abide(&["cancel"]).ok();
    assert_eq!(tree.entries(), ["edge_1.0.efi", "edge_2.0.efi"]);
    assert_eq!(tree.boot_with_initrd("2.0"), "edge_2.0.efi");
    tree.abide(&["rollback"]).ok();
}

#[test]
fn a_trial_on_another_versions_root_is_given_up_in_the_initramfs() {
    let mut tree = applied();
    tree.boot();
    write(&tree, "etc/initrd-release", "");
    tree.abide(&["initrd", "early"]).ok();
    tree.mount_sysroot("1.0");
    tree.abide(&["initrd", "root"]).ok();
    assert_eq!(tree.entries(), ["edge_1.0.efi", "edge_2.0+0-1.efi"]);
    fs::remove_file(tree.path("etc/initrd-release")).unwrap();
    tree.boot_with_initrd("1.0");
    let reason = tree.status()["failures"][0]["reason"].as_str().unwrap().to_owned();
    assert!(reason.contains("the mounted root is version"), "{reason}");
}

/// The order of the two is a matter of chance.
#[test]
fn a_root_that_is_mounted_before_the_esp_appears_is_verified_too() {
    for parts in [&["early", "root"][..], &["root"]] {
        let mut tree = applied();
        tree.boot();
        write(&tree, "etc/initrd-release", "");
        tree.mount_sysroot("1.0");
        for part in parts {
            tree.abide(&["initrd", part]).ok();
        }
        assert_eq!(tree.entries(), ["edge_1.0.efi", "edge_2.0+0-1.efi"], "{parts:?}");
    }
}

#[test]
fn a_trial_ends_at_its_deadline_even_if_its_version_contradicts_its_entry() {
    let mut tree = applied();
    tree.boot_with_initrd("2.0");
    write(&tree, "etc/os-release", "ID=edge\nVERSION=\"9 (another)\"\n");
    assert_eq!(tree.status()["boot"]["kind"], "unknown");
    tree.abide(&["assess", "--deadline"]).ok();
    assert_eq!(tree.entries(), ["edge_1.0.efi", "edge_2.0+0-1.efi"]);
    assert!(tree.path("run/abide/reboot-requested").exists());
}

#[test]
fn an_entry_without_a_root_is_not_that_of_a_root_which_another_entry_names() {
    let tree = Tree::running("1.0");
    fs::write(tree.entry("edge_1.0.efi"), uki("edge", "1.0", "panic=10 quiet")).unwrap();
    tree.stage("2.0", "b");
    tree.abide(&["apply"]).ok();
    kexec(&tree, "b", Some("33\n"));
    write(&tree, "proc/self/mountinfo", "36 1 8:3 / / rw - ext4 /dev/sda3 rw\n");
    refuses_everything(&tree, "which boots another root");
}

#[test]
fn a_slot_is_not_overwritten_while_an_entry_without_a_root_may_boot_it() {
    let tree = Tree::running("1.0");
    fs::write(tree.entry("edge_0.9.efi"), uki("edge", "0.9", "panic=10 quiet")).unwrap();
    let image = tree.path("edge_3.0.raw");
    fs::write(&image, Image::new("3.0", "b").bytes()).unwrap();
    let before = fs::read(tree.path("dev/sda3")).unwrap();
    let run = tree.abide(&["write", &image.display().to_string()]).fails(6);
    assert!(run.stderr.contains("edge_0.9.efi names no root"), "{}", run.stderr);
    assert_eq!(fs::read(tree.path("dev/sda3")).unwrap(), before);
}

#[test]
fn a_trial_without_another_system_is_not_given_up_by_hand() {
    let mut tree = applied();
    tree.boot_with_initrd("2.0");
    fs::remove_file(tree.entry("edge_1.0.efi")).unwrap();
    let run = tree.abide(&["rollback"]).fails(6);
    assert!(run.stderr.contains("no other system would boot"), "{}", run.stderr);
    assert_eq!(tree.entries(), ["edge_2.0+2-1.efi"]);
    tree.abide(&["commit", "--now"]).ok();
}

#[test]
fn apply_installs_what_was_written_and_not_another_file_of_that_name() {
    let tree = Tree::running("1.0");
    tree.stage("2.0", "b");
    let written = fs::read(tree.entry("staged.uki")).unwrap();
    fs::write(tree.entry("edge_2.0.efi"), uki("edge", "2.0", "panic=10 quiet another")).unwrap();
    tree.abide(&["apply"]).ok();
    assert_eq!(tree.entries(), ["edge_1.0.efi", "edge_2.0+3-0.efi"]);
    assert_eq!(fs::read(tree.entry("edge_2.0+3-0.efi")).unwrap(), written);
}

#[test]
fn an_update_that_lost_its_counter_before_its_first_boot_is_tried_anyway() {
    let mut tree = applied();
    fs::rename(tree.entry("edge_2.0+3-0.efi"), tree.entry("edge_2.0.efi")).unwrap();
    let status = tree.status();
    assert_eq!(status["boot"]["kind"], "committed");
    assert_eq!(tree.state().update.unwrap().stage, abide_core::state::Stage::Applied);
    tree.boot();
    tree.abide(&["initrd", "early"]).ok();
    assert_eq!(tree.entries(), ["edge_1.0.efi", "edge_2.0+2-1.efi"]);
    let status = tree.status();
    assert_eq!((&status["boot"]["kind"], &status["boot"]["attempt"]), (&"trial".into(), &1.into()));
    tree.abide(&["rollback"]).ok();
    assert_eq!(tree.entries(), ["edge_1.0.efi", "edge_2.0+0-1.efi"]);
}

#[test]
fn apply_gives_an_update_its_counter_back_that_another_tool_has_removed() {
    let tree = applied();
    fs::rename(tree.entry("edge_2.0+3-0.efi"), tree.entry("edge_2.0.efi")).unwrap();
    tree.abide(&["apply"]).ok();
    assert_eq!(tree.entries(), ["edge_1.0.efi", "edge_2.0+3-0.efi"]);
}

#[test]
fn the_deadline_does_not_end_a_boot_that_came_by_kexec() {
    let tree = applied();
    kexec(&tree, "b", Some(KEXEC));
    tree.abide(&["initrd", "early"]).ok();
    tree.abide(&["assess", "--deadline"]).ok();
    assert_eq!(tree.entries(), ["edge_1.0.efi", "edge_2.0+3-0.efi"]);
    assert!(!tree.path("run/abide/reboot-requested").exists());
}

#[test]
fn a_try_that_has_failed_is_not_committed_in_the_same_boot() {
    let mut tree = applied();
    write(&tree, "etc/abide/abide.toml", "[assess]\non_failure = \"retry\"\n");
    tree.boot_with_initrd("2.0");
    tree.abide(&["assess", "--deadline"]).ok();
    let run = tree.abide(&["commit", "--now"]).fails(5);
    assert!(run.stderr.contains("this try of 2.0 has failed"), "{}", run.stderr);
    assert_eq!(tree.entries(), ["edge_1.0.efi", "edge_2.0+2-1.efi"]);
}

#[test]
fn a_rollback_whose_target_a_variable_names_is_cancelled_with_it() {
    let mut tree = Tree::running("1.0");
    tree.update("2.0", "b");
    tree.abide(&["rollback"]).ok();
    tree.set_variable("LoaderEntryDefault", "edge_1.0.efi");
    tree.abide(&["cancel"]).ok();
    assert!(!tree.variable("LoaderEntryDefault").exists());
    assert_eq!(tree.boot_with_initrd("2.0"), "edge_2.0.efi");
}

#[test]
fn a_failed_trial_with_nothing_to_fall_back_to_is_not_said_to_be_tested() {
    let mut tree = applied();
    tree.boot_with_initrd("2.0");
    fs::remove_file(tree.entry("edge_1.0.efi")).unwrap();
    tree.abide(&["assess", "--deadline"]).ok();
    assert!(!tree.path("run/abide/reboot-requested").exists());
    assert_eq!(tree.status()["boot"]["kind"], "unknown");
    let run = tree.abide(&["apply"]).fails(6);
    assert!(run.stderr.contains("the boot loader would boot edge_2.0.efi again"), "{}", run.stderr);
}

/// systemd-sysupdate has installed 2.0 beside the running 1.0 and given it three tries, and it is booted.
fn tried_by_another_tool(settings: &str) -> Tree {
    let mut tree = Tree::running("1.0");
    fs::write(tree.entry("edge_2.0+3-0.efi"), uki("edge", "2.0", &cmdline("b"))).unwrap();
    tree.boot();
    write(&tree, "sysroot/etc/abide/abide.toml", settings);
    write(&tree, "etc/abide/abide.toml", settings);
    tree.abide(&["initrd", "early"]).ok();
    tree.mount_sysroot("2.0");
    tree.abide(&["initrd", "root"]).ok();
    tree
}

#[test]
fn a_trial_of_another_tool_is_assessed_if_the_configuration_says_so() {
    let tree = tried_by_another_tool("");
    assert_eq!(tree.status()["boot"]["kind"], "unknown");
    tree.abide(&["assess", "--may-bless"]).ok();

    let tree = tried_by_another_tool("[assess]\nother_trials = true\n");
    let status = tree.status();
    assert_eq!((&status["boot"]["kind"], &status["boot"]["attempt"]), (&"trial".into(), &1.into()));
    tree.abide(&["assess", "--may-bless"]).fails(6);
    tree.abide(&["commit", "--now"]).ok();
    assert_eq!(tree.entries(), ["edge_1.0.efi", "edge_2.0.efi"]);
}

#[test]
fn a_trial_of_another_tool_that_fails_falls_back_and_is_on_record() {
    let mut tree = tried_by_another_tool("[assess]\nother_trials = true\n");
    tree.abide(&["assess", "--deadline"]).ok();
    assert!(tree.path("run/abide/reboot-requested").exists());
    assert_eq!(tree.boot_with_initrd("1.0"), "edge_1.0.efi");
    let status = tree.status();
    assert_eq!(status["failures"][0]["version"], "2.0", "{status:#}");
}

#[test]
fn a_trial_of_another_tool_with_nothing_to_fall_back_to_is_left_to_it() {
    let mut tree = Tree::running("1.0");
    fs::write(tree.entry("edge_2.0+3-0.efi"), uki("edge", "2.0", &cmdline("b"))).unwrap();
    fs::remove_file(tree.entry("edge_1.0.efi")).unwrap();
    tree.boot();
    write(&tree, "etc/abide/abide.toml", "[assess]\nother_trials = true\n");
    tree.abide(&["assess", "--find"]).ok();
    assert_eq!(tree.status()["boot"]["kind"], "unknown");
}

//! Changes to the boot entries by other tools, administrators and accidents, on machines that are
//! folders.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::fs;

use abide_testing::{Image, Tree, tree::cmdline, uki};

/// An update to 2.0 that is applied.
fn armed(version: &str) -> Tree {
    let tree = Tree::running(version);
    tree.stage("2.0", "b");
    tree.abide(&["apply"]).ok();
    tree
}

/// An update to 2.0 on its first trial boot.
fn on_trial(version: &str) -> Tree {
    let mut tree = armed(version);
    tree.boot_with_initrd("2.0");
    assert_eq!(tree.status()["boot"]["kind"], "trial");
    tree
}

fn rename(tree: &Tree, from: &str, to: &str) {
    fs::rename(tree.entry(from), tree.entry(to)).unwrap();
}

fn no_failures(tree: &Tree) {
    let status = tree.status();
    assert_eq!(status["failures"].as_array().unwrap().len(), 0, "{status:#}");
}

// systemd-bless-boot

#[test]
fn a_trial_that_systemd_bless_boot_marks_good_is_committed() {
    let tree = on_trial("1.0");
    rename(&tree, "edge_2.0+2-1.efi", "edge_2.0.efi");
    tree.abide(&["commit", "--now"]).ok();
    assert_eq!(tree.entries(), ["edge_1.0.efi", "edge_2.0.efi"]);
    assert_eq!(tree.status()["update"]["userStatus"], "UPDATED");
}

#[test]
fn a_trial_that_systemd_bless_boot_marks_bad_has_failed_at_the_next_boot() {
    let mut tree = on_trial("1.0");
    rename(&tree, "edge_2.0+2-1.efi", "edge_2.0+0-1.efi");
    assert_eq!(tree.boot_with_initrd("1.0"), "edge_1.0.efi");
    assert_eq!(tree.status()["boot"]["kind"], "fallback");
    assert_eq!(tree.status()["failures"][0]["version"], "2.0");
}

#[test]
fn a_failed_update_blessed_by_a_stale_path_never_runs_as_good() {
    let mut tree = armed("1.0");
    for _ in 0..3 {
        tree.boot();
    }
    tree.boot_with_initrd("1.0");
    assert_eq!(tree.status()["boot"]["kind"], "fallback");
    rename(&tree, "edge_2.0+0-3.efi", "edge_2.0.efi");
    tree.boot_with_initrd("2.0");
    let status = tree.status();
    assert_ne!(status["boot"]["kind"], "committed", "{status:#}");
    assert_eq!(status["failures"][0]["version"], "2.0");
    tree.abide(&["commit", "--now"]).fails(5);
}

// An administrator

#[test]
fn tries_that_an_administrator_adds_do_not_outlast_the_own_count() {
    let mut tree = on_trial("1.0");
    rename(&tree, "edge_2.0+2-1.efi", "edge_2.0+9-0.efi");
    for attempt in [2, 3] {
        tree.boot_with_initrd("2.0");
        let status = tree.status();
        assert_eq!((&status["boot"]["kind"], &status["boot"]["attempt"]), (&"trial".into(), &attempt.into()));
    }
    tree.boot();
    tree.abide(&["initrd", "early"]).ok();
    assert!(tree.path("run/abide/reboot-requested").exists(), "more boots than it was given");
    assert_eq!(tree.boot_with_initrd("1.0"), "edge_1.0.efi");
    assert_eq!(tree.status()["failures"][0]["version"], "2.0");
}

#[test]
fn an_entry_on_trial_that_was_renamed_altogether_is_not_taken_for_committed() {
    let mut tree = on_trial("1.0");
    rename(&tree, "edge_2.0+2-1.efi", "my-edge.efi");
    tree.boot_with_initrd("2.0");
    let status = tree.status();
    assert_eq!(status["boot"]["kind"], "unknown", "{status:#}");
    tree.abide(&["commit", "--now"]).fails(6);
    // The other slot has the only good system.
    let image = tree.path("edge_3.0.raw");
    fs::write(&image, Image::new("3.0", "a").bytes()).unwrap();
    tree.abide(&["write", &image.display().to_string()]).fails(6);
}

#[test]
fn an_entry_on_trial_that_was_removed_leaves_the_old_system_and_no_failure() {
    let mut tree = armed("1.0");
    fs::remove_file(tree.entry("edge_2.0+3-0.efi")).unwrap();
    assert_eq!(tree.boot_with_initrd("1.0"), "edge_1.0.efi");
    assert_eq!(tree.status()["boot"]["kind"], "committed");
    no_failures(&tree);
    tree.stage("2.0", "b");
    tree.abide(&["apply"]).ok();
    assert_eq!(tree.boot(), "edge_2.0+2-1.efi");
}

#[test]
fn the_old_systems_entry_that_was_removed_makes_apply_refuse() {
    let tree = Tree::running("1.0");
    tree.stage("2.0", "b");
    fs::remove_file(tree.entry("edge_1.0.efi")).unwrap();
    let said = tree.abide(&["apply"]).fails(6).stderr;
    assert!(said.contains("nothing to fall back to"), "{said}");
    assert!(tree.entries().is_empty());
}

#[test]
fn a_demoted_entry_with_its_name_given_back_is_still_the_fallback() {
    let mut tree = armed("3.0");
    assert_eq!(tree.entries(), ["edge_2.0+3-0.efi", "edge_3.0+0-0.efi"]);
    rename(&tree, "edge_3.0+0-0.efi", "edge_3.0.efi");
    assert_eq!(tree.boot_with_initrd("3.0"), "edge_3.0.efi");
    assert_eq!(tree.status()["boot"]["kind"], "committed");
    no_failures(&tree);
    tree.abide(&["apply"]).ok();
    assert_eq!(tree.boot(), "edge_2.0+2-1.efi");
}

#[test]
fn apply_refuses_where_a_foreign_entry_would_boot_and_leaves_it_alone() {
    let tree = Tree::running("1.0");
    fs::write(tree.entry("edge_9.0.efi"), uki("edge", "9.0", &cmdline("a"))).unwrap();
    tree.stage("2.0", "b");
    let said = tree.abide(&["apply"]).fails(6).stderr;
    assert!(said.contains("edge_9.0.efi"), "{said}");
    assert_eq!(tree.entries(), ["edge_1.0.efi", "edge_9.0.efi"]);
}

#[test]
fn a_downgrade_with_half_an_apply_stays_once_it_is_committed() {
    let mut tree = armed("3.0");
    rename(&tree, "edge_3.0+0-0.efi", "edge_3.0.efi");
    tree.set_variable("LoaderEntryOneShot", "edge_2.0.efi");
    assert_eq!(tree.boot_with_initrd("2.0"), "edge_2.0+2-1.efi");
    tree.abide(&["commit", "--now"]).ok();
    assert_eq!(tree.entries(), ["edge_2.0.efi", "edge_3.0+0-0.efi"]);
    assert_eq!(tree.boot_with_initrd("2.0"), "edge_2.0.efi");
    tree.abide(&["rollback"]).ok();
    assert_eq!(tree.boot(), "edge_3.0+2-1.efi");
}

// bootctl set-default, set-oneshot, loader.conf

#[test]
fn a_default_pinned_during_a_trial_does_not_misdirect_the_commit() {
    let mut tree = on_trial("1.0");
    tree.set_variable("LoaderEntryDefault", "edge_1.0.efi");
    tree.abide(&["commit", "--now"]).ok();
    assert_eq!(tree.boot_with_initrd("2.0"), "edge_2.0.efi");
}

#[test]
fn commit_refuses_before_any_change_where_loader_conf_pins_a_default() {
    let tree = on_trial("1.0");
    fs::write(tree.path("efi/loader/loader.conf"), "default edge_1.0.efi\n").unwrap();
    let said = tree.abide(&["commit", "--now"]).fails(6).stderr;
    assert!(said.contains("default in loader.conf"), "{said}");
    assert_eq!(tree.entries(), ["edge_1.0.efi", "edge_2.0+2-1.efi"]);
    assert_eq!(tree.status()["boot"]["kind"], "trial");
}

#[test]
fn a_default_that_pins_the_trial_does_not_outlive_its_rollback() {
    let mut tree = on_trial("1.0");
    tree.set_variable("LoaderEntryDefault", "edge_2.0.efi");
    tree.abide(&["rollback"]).ok();
    assert_eq!(tree.boot_with_initrd("1.0"), "edge_1.0.efi");
}

#[test]
fn a_default_that_pins_a_failed_trial_is_cleared_on_the_next_boot() {
    let mut tree = on_trial("1.0");
    tree.abide(&["rollback"]).ok();
    tree.set_variable("LoaderEntryDefault", "edge_2.0.efi");
    assert_eq!(tree.boot(), "edge_2.0+0-2.efi");
    tree.abide(&["initrd", "early"]).ok();
    assert!(tree.path("run/abide/reboot-requested").exists());
    assert_eq!(tree.boot_with_initrd("1.0"), "edge_1.0.efi");
}

#[test]
fn a_trial_that_loader_conf_pins_stays_up_rather_than_reboot_for_ever() {
    let mut tree = on_trial("1.0");
    tree.abide(&["rollback"]).ok();
    fs::write(tree.path("efi/loader/loader.conf"), "default edge_2.0.efi\n").unwrap();
    assert_eq!(tree.boot(), "edge_2.0+0-2.efi");
    tree.abide(&["initrd", "early"]).ok();
    assert!(!tree.path("run/abide/reboot-requested").exists());
    let status = tree.status();
    assert_eq!(status["boot"]["kind"], "unknown", "{status:#}");
    let because = status["boot"]["because"].as_str().unwrap();
    assert!(because.contains("default in loader.conf"), "{because}");
}

#[test]
fn a_one_shot_to_the_old_system_in_mid_trial_costs_nothing() {
    let mut tree = on_trial("1.0");
    tree.set_variable("LoaderEntryOneShot", "edge_1.0.efi");
    assert_eq!(tree.boot_with_initrd("1.0"), "edge_1.0.efi");
    assert_eq!(tree.status()["boot"]["kind"], "committed");
    no_failures(&tree);
    assert_eq!(tree.boot_with_initrd("2.0"), "edge_2.0+1-2.efi");
    tree.abide(&["commit", "--now"]).ok();
    assert_eq!(tree.entries(), ["edge_1.0.efi", "edge_2.0.efi"]);
}

// kexec and soft-reboot

#[test]
fn a_count_path_left_by_a_kexec_into_the_old_system_is_ignored() {
    let tree = on_trial("1.0");
    // kexec: the old system's kernel and root, the variables of the boot before.
    fs::write(tree.path("proc/cmdline"), cmdline("a")).unwrap();
    fs::write(tree.path("proc/sys/kernel/random/boot_id"), "kexec\n").unwrap();
    fs::create_dir_all(tree.path("proc/sys/kernel")).unwrap();
    fs::write(tree.path("proc/sys/kernel/bootloader_type"), "208\n").unwrap();
    fs::remove_dir_all(tree.path("run")).unwrap();
    tree.abide(&["initrd", "early"]).ok();
    let status = tree.status();
    assert_eq!(status["boot"]["kind"], "committed", "{status:#}");
    tree.abide(&["commit", "--now"]).fails(5);
    assert_eq!(tree.entries(), ["edge_1.0.efi", "edge_2.0+2-1.efi"]);
    no_failures(&tree);
}

#[test]
fn a_soft_reboot_in_mid_trial_is_the_same_try() {
    let mut tree = on_trial("1.0");
    // Only user space starts anew: /run and the kernel stay.
    let status = tree.status();
    assert_eq!((&status["boot"]["kind"], &status["boot"]["attempt"]), (&"trial".into(), &1.into()));
    tree.abide(&["initrd", "early"]).ok();
    assert_eq!(tree.state().update.unwrap().boots.len(), 1);
    tree.abide(&["commit", "--now"]).ok();
    assert_eq!(tree.boot_with_initrd("2.0"), "edge_2.0.efi");
}

#[test]
fn a_stale_boot_count_path_does_not_hide_the_fallback() {
    let mut tree = armed("1.0");
    for _ in 0..3 {
        tree.boot();
    }
    tree.boot();
    tree.set_variable("LoaderBootCountPath", "\\EFI\\Linux\\edge_2.0+0-3.efi");
    tree.abide(&["initrd", "early"]).ok();
    assert_eq!(tree.status()["boot"]["kind"], "fallback");
    assert_eq!(tree.status()["loader"]["entry"], "edge_1.0.efi");
    assert_eq!(tree.entries(), ["edge_1.0.efi", "edge_2.0+0-3.efi"]);
}

// The ESP itself

#[test]
fn a_system_whose_entry_is_on_xbootldr_is_updated_and_falls_back() {
    let mut tree = Tree::running("1.0");
    fs::create_dir_all(tree.path("boot/EFI/Linux")).unwrap();
    fs::rename(tree.entry("edge_1.0.efi"), tree.path("boot/EFI/Linux/edge_1.0.efi")).unwrap();
    tree.stage("2.0", "b");
    tree.abide(&["apply"]).ok();
    for name in ["edge_2.0+2-1.efi", "edge_2.0+1-2.efi", "edge_2.0+0-3.efi", "edge_1.0.efi"] {
        assert_eq!(tree.boot(), name);
    }
    tree.abide(&["initrd", "early"]).ok();
    assert_eq!(tree.status()["boot"]["kind"], "fallback");
    assert!(tree.path("boot/EFI/Linux/edge_1.0.efi").exists());
}

#[test]
fn a_downgrade_on_xbootldr_demotes_there_and_restores_the_name() {
    let mut tree = Tree::running("3.0");
    let there = |tree: &Tree, name: &str| tree.path("boot/EFI/Linux").join(name).exists();
    fs::create_dir_all(tree.path("boot/EFI/Linux")).unwrap();
    fs::rename(tree.entry("edge_3.0.efi"), tree.path("boot/EFI/Linux/edge_3.0.efi")).unwrap();
    tree.stage("2.0", "b");
    tree.abide(&["apply"]).ok();
    assert!(there(&tree, "edge_3.0+0-0.efi"));
    for name in ["edge_2.0+2-1.efi", "edge_2.0+1-2.efi", "edge_2.0+0-3.efi", "edge_3.0+0-1.efi"] {
        assert_eq!(tree.boot(), name);
    }
    tree.abide(&["initrd", "early"]).ok();
    assert!(there(&tree, "edge_3.0.efi"));
}

#[test]
fn a_vanished_esp_stops_no_boot_and_every_command_says_what_is_missing() {
    let mut tree = armed("1.0");
    tree.boot();
    fs::remove_dir_all(tree.path("efi")).unwrap();
    tree.abide(&["initrd", "early"]).ok();
    tree.abide(&["initrd", "root"]).ok();
    assert!(!tree.path("run/abide/reboot-requested").exists());
    for command in [["status"], ["list"], ["commit"], ["apply"], ["rollback"]] {
        let said = tree.abide(&command).fails(4).stderr;
        assert!(said.contains("no ESP"), "{command:?}: {said}");
    }
}

#[test]
fn a_trial_without_state_goes_on_and_the_loader_still_falls_back() {
    let mut tree = armed("1.0");
    for generation in ["state.0", "state.1"] {
        fs::write(tree.path("efi/EFI/abide").join(generation), vec![0xff; 16 * 1024]).unwrap();
    }
    tree.boot_with_initrd("2.0");
    assert!(!tree.path("run/abide/reboot-requested").exists());
    // The trial is unknown, so nothing can commit it; the loader's own count ends it.
    tree.abide(&["commit", "--now"]).fails(5);
    for _ in 0..2 {
        tree.boot();
    }
    assert_eq!(tree.boot_with_initrd("1.0"), "edge_1.0.efi");
    tree.stage("3.0", "b");
    tree.abide(&["apply"]).ok();
    assert_eq!(tree.boot(), "edge_3.0+2-1.efi");
}

//! What would destroy a system, or call one good without evidence, is refused before anything is changed.

#![allow(clippy::indexing_slicing, clippy::unwrap_used)]

use std::fs;

use abide_testing::tree::cmdline;
use abide_testing::{Image, Tree, uki};

fn put(tree: &Tree, path: &str, text: &str) {
    let path = tree.path(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

/// `abide write` of an image of `version` for `slot` refuses with `why`, and nothing has changed.
fn refuses_to_write(tree: &Tree, version: &str, slot: &str, why: &str) {
    let image = tree.path("new.raw");
    fs::write(&image, Image::new(version, slot).bytes()).unwrap();
    let device = tree.path(if slot == "b" { "dev/sda3" } else { "dev/sda2" });
    let before = (tree.entries(), fs::read(&device).unwrap(), tree.state());
    let run = tree.abide(&["write", &image.display().to_string()]).fails(6);
    assert!(run.stderr.contains(why), "{}", run.stderr);
    assert_eq!((tree.entries(), fs::read(&device).unwrap(), tree.state()), before);
}

fn applied() -> Tree {
    let tree = Tree::running("1.0");
    tree.stage("2.0", "b");
    tree.abide(&["apply"]).ok();
    tree
}

#[test]
fn the_file_that_the_running_entry_starts_is_not_removed() {
    let tree = Tree::running("1.0");
    put(
        &tree,
        "efi/loader/entries/run.conf",
        &format!(
            "title Edge\nsort-key edge\nversion 1.0\nefi /EFI/Linux/edge_1.0.efi\noptions {}\n",
            cmdline("a")
        ),
    );
    fs::write(tree.entry("edge_1.0.efi"), uki("edge", "1.0", &cmdline("b"))).unwrap();
    tree.set_variable("LoaderEntrySelected", "run.conf");
    refuses_to_write(&tree, "3.0", "b", "is started by loader/entries/run.conf");
}

#[test]
fn a_write_that_is_refused_leaves_the_entry_of_the_other_good_system() {
    let mut tree = Tree::running("1.0");
    tree.update("2.0", "b");
    fs::write(tree.entry("edge_0.9.efi"), uki("edge", "0.9", "panic=10 quiet")).unwrap();
    refuses_to_write(&tree, "3.0", "a", "edge_0.9.efi names no root");
}

#[test]
fn a_slot_that_an_entry_with_a_plain_kernel_may_boot_is_not_overwritten() {
    let tree = Tree::running("1.0");
    put(&tree, "efi/vmlinuz", "kernel");
    put(&tree, "efi/loader/entries/old.conf", "title Old\nsort-key edge\nlinux /vmlinuz\noptions quiet\n");
    refuses_to_write(&tree, "3.0", "b", "old.conf names no root");
}

#[test]
fn another_version_under_the_name_of_a_good_system_is_not_good() {
    let mut tree = Tree::running("1.0");
    tree.update("2.0", "b");
    // Another tool replaces 1.0 by 3.0 and calls it the same.
    fs::remove_file(tree.entry("edge_1.0.efi")).unwrap();
    fs::write(tree.entry("edge_1.0+3-0.efi"), uki("edge", "3.0", &cmdline("a"))).unwrap();
    for _ in 0..3 {
        tree.boot_with_initrd("3.0");
    }
    assert_eq!(tree.entries(), ["edge_1.0+0-3.efi", "edge_2.0.efi"]);
    assert_eq!(tree.status()["boot"]["kind"], "unknown");
    refuses_to_write(&tree, "4.0", "b", "counted by another tool");
}

#[test]
fn a_plain_twin_does_not_commit_the_entry_that_the_loader_counted() {
    let mut tree = applied();
    tree.boot_with_initrd("2.0");
    fs::write(tree.entry("edge_2.0.efi"), uki("edge", "2.0", &format!("{} twin", cmdline("b")))).unwrap();
    fs::rename(tree.entry("edge_2.0+2-1.efi"), tree.entry("edge_2.0+1-2.efi")).unwrap();
    tree.set_variable("LoaderBootCountPath", "\\EFI\\Linux\\edge_2.0+1-2.efi");
    put(&tree, "proc/sys/kernel/random/boot_id", "second-try\n");
    fs::remove_dir_all(tree.path("run")).unwrap();
    tree.abide(&["initrd", "early"]).ok();
    assert_eq!(tree.status()["boot"]["kind"], "trial");
    let run = tree.abide(&["commit", "--now"]).fails(6);
    assert!(run.stderr.contains("edge_2.0.efi is another file than the update"), "{}", run.stderr);
}

#[test]
fn a_boot_that_may_be_a_trial_is_not_assessed_before_that_is_known() {
    let mut tree = applied();
    tree.boot();
    fs::rename(tree.path("efi"), tree.path("hidden")).unwrap();
    tree.abide(&["assess", "--find"]).ok();
    assert!(tree.path("run/abide/trial").exists());
    let run = tree.abide(&["assess"]).fails(1);
    assert!(run.stderr.contains("cannot determine whether this boot is a trial"), "{}", run.stderr);
    fs::rename(tree.path("hidden"), tree.path("efi")).unwrap();
    assert_eq!(tree.entries(), ["edge_1.0.efi", "edge_2.0+2-1.efi"]);
}

#[test]
fn a_try_that_cannot_be_recorded_is_ended_only_if_the_loader_has_counted_it() {
    for is_counted in [true, false] {
        let mut tree = applied();
        tree.boot_with_initrd("2.0");
        if !is_counted {
            fs::remove_file(tree.variable("LoaderBootCountPath")).unwrap();
        }
        fs::rename(tree.path("efi"), tree.path("hidden")).unwrap();
        tree.abide(&["assess", "--deadline"]).ok();
        assert_eq!(tree.path("run/abide/reboot-requested").exists(), is_counted);
    }
}

#[test]
fn a_tool_is_no_system_to_fall_back_to() {
    let mut tree = applied();
    tree.boot_with_initrd("2.0");
    fs::remove_file(tree.entry("edge_1.0.efi")).unwrap();
    put(&tree, "efi/memtest.efi", "MZ");
    put(&tree, "efi/loader/entries/memtest.conf", "title Memory test\nefi /memtest.efi\n");
    let run = tree.abide(&["rollback"]).fails(6);
    assert!(run.stderr.contains("no other system would boot"), "{}", run.stderr);
    tree.abide(&["assess", "--deadline"]).ok();
    assert!(!tree.path("run/abide/reboot-requested").exists());
    assert_eq!(tree.status()["boot"]["kind"], "unknown");
}

#[test]
fn another_entry_of_the_failed_root_is_no_system_to_fall_back_to() {
    let mut tree = applied();
    tree.boot_with_initrd("2.0");
    fs::remove_file(tree.entry("edge_1.0.efi")).unwrap();
    fs::write(tree.entry("rescue.efi"), uki("edge", "2.0", &format!("{} rescue", cmdline("b")))).unwrap();
    tree.abide(&["assess", "--deadline"]).ok();
    assert!(!tree.path("run/abide/reboot-requested").exists());
}

#[test]
fn a_failed_trial_falls_back_although_a_variable_names_it_for_the_next_boot() {
    let mut tree = applied();
    tree.boot_with_initrd("2.0");
    tree.set_variable("LoaderEntryOneShot", "edge_2.0.efi");
    tree.abide(&["assess", "--deadline"]).ok();
    assert!(tree.path("run/abide/reboot-requested").exists());
    assert_eq!(tree.boot_with_initrd("1.0"), "edge_1.0.efi");
}

#[test]
fn a_trial_that_was_left_for_the_old_system_is_cancelled() {
    let mut tree = applied();
    tree.boot_with_initrd("2.0");
    tree.set_variable("LoaderEntryOneShot", "edge_1.0.efi");
    assert_eq!(tree.boot_with_initrd("1.0"), "edge_1.0.efi");
    tree.abide(&["cancel"]).ok();
    assert_eq!(tree.entries(), ["edge_1.0.efi"]);
    assert_eq!(tree.status()["boot"]["kind"], "committed");
}

#[test]
fn what_is_cancelled_after_a_commit_leaves_that_boot_committed() {
    let mut tree = applied();
    tree.boot_with_initrd("2.0");
    tree.abide(&["commit", "--now"]).ok();
    tree.stage("3.0", "a");
    tree.abide(&["cancel"]).ok();
    assert_eq!(tree.status()["boot"]["kind"], "committed");
}

#[test]
fn doctor_says_what_apply_would() {
    let mut tree = applied();
    tree.boot();
    tree.save(&abide_core::state::State::default());
    let found = tree.abide(&["doctor", "--json"]);
    assert!(found.stdout.contains("unknown-boot"), "{}", found.stdout);
}

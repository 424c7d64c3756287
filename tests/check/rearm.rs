//! `[assess] rearm`: a committed system that has tries, and gets them back.

use std::fs;

use abide_testing::{Image, Tree};

use crate::{SHORT, booted, configure};

/// 2.0 runs on trial, with 1.0 in reserve; `keys` are in `[assess]`.
fn on_trial(keys: &str) -> Tree {
    let mut tree = Tree::running("1.0");
    configure(&tree, &SHORT.replace("[assess]", &format!("[assess]\n{keys}")));
    tree.stage("2.0", "b");
    tree.abide(&["apply"]).ok();
    tree.boot_with_initrd("2.0");
    tree
}

/// The same, committed.
fn committed() -> Tree {
    let tree = on_trial("rearm = true");
    tree.abide(&["commit", "--now"]).ok();
    tree
}

fn check(tree: &Tree, is_sick: bool) -> i32 {
    let failed: &[&str] = if is_sick { &["app.service loaded failed failed App"] } else { &[] };
    booted(tree, failed);
    tree.abide(&["assess", "--every-boot"]).code
}

#[test]
fn a_commit_leaves_tries_that_every_healthy_boot_gives_back() {
    let mut tree = committed();
    assert_eq!(tree.entries(), ["edge_1.0.efi", "edge_2.0+3-0.efi"]);
    let state = tree.state();
    for _ in 0..4 {
        assert_eq!(tree.boot_with_initrd("2.0"), "edge_2.0+2-1.efi");
        assert_eq!(check(&tree, false), 0);
        assert_eq!(tree.entries(), ["edge_1.0.efi", "edge_2.0+3-0.efi"]);
    }
    assert_eq!(tree.state(), state, "only the name changes");
}

#[test]
fn it_is_called_good_and_committed() {
    let mut tree = committed();
    tree.boot_with_initrd("2.0");
    let list = tree.abide(&["list", "--json"]).ok().json();
    assert_eq!(list["entries"][0]["id"], "edge_2.0.efi");
    assert_eq!(list["entries"][0]["state"], "good", "{list:#}");
    assert_eq!(list["entries"][0]["tries_left"], 2);
    assert!(tree.abide(&["list"]).ok().stdout.contains("good: 2 tries left, 1 used"));
    let status = tree.status();
    assert_eq!(status["boot"]["kind"], "committed");
    assert_eq!(status["slots"][1]["state"], "active");
    assert_eq!(status["slots"][1]["good"], true, "{status:#}");
    assert_eq!(status["update"]["userStatus"], "UPDATED");
    assert!(!tree.path("run/abide/trial").exists());
    let link = "run/systemd/system/multi-user.target.wants/abide-every-boot.service";
    assert!(tree.path(link).symlink_metadata().is_ok(), "what gives the tries back runs, enabled or not");
}

#[test]
fn one_that_crashes_later_is_left_and_remembered() {
    let mut tree = committed();
    for name in ["edge_2.0+2-1.efi", "edge_2.0+1-2.efi", "edge_2.0+0-3.efi"] {
        assert_eq!(tree.boot_with_initrd("2.0"), name);
    }
    assert_eq!(tree.boot_with_initrd("1.0"), "edge_1.0.efi");
    let status = tree.status();
    assert_eq!(status["boot"]["kind"], "fallback", "{status:#}");
    let failure = &status["failures"][0];
    assert_eq!(failure["version"], "2.0");
    assert_eq!(failure["reason"], "it was committed, but its last 3 boots ended before it was healthy");
    assert_eq!(tree.abide(&["rollback"]).code, 6, "it is refused until someone says forget");
    // And that is the end of it.
    for _ in 0..5 {
        assert_eq!(check(&tree, false), 0);
        assert_eq!(tree.boot_with_initrd("1.0"), "edge_1.0.efi");
    }
    tree.abide(&["report"]).ok();
    tree.abide(&["forget", "2.0"]).ok();
    tree.abide(&["rollback"]).ok();
    assert_eq!(tree.boot_with_initrd("2.0"), "edge_2.0+2-1.efi");
    assert_eq!(tree.status()["boot"]["kind"], "trial");
}

#[test]
fn one_that_fails_its_checks_uses_up_its_tries_without_a_reboot_of_abides() {
    let mut tree = committed();
    for _ in 0..3 {
        tree.boot_with_initrd("2.0");
        assert_eq!(check(&tree, true), 1);
        assert!(!tree.path("run/abide/reboot-requested").exists());
    }
    assert_eq!(tree.boot_with_initrd("1.0"), "edge_1.0.efi");
}

#[test]
fn without_another_good_system_there_are_no_tries() {
    let mut tree = Tree::running("1.0");
    configure(&tree, &SHORT.replace("[assess]", "[assess]\nrearm = true"));
    tree.boot_with_initrd("1.0");
    let before = tree.state();
    assert_eq!(check(&tree, false), 0);
    assert_eq!(tree.entries(), ["edge_1.0.efi"]);
    assert_eq!(tree.state(), before, "nothing is written");
}

#[test]
fn an_update_begins_from_a_plain_name() {
    let mut tree = committed();
    tree.boot_with_initrd("2.0");
    let image = tree.path("image.raw");
    fs::write(&image, Image::new("3.0", "a").bytes()).unwrap();
    tree.abide(&["write", image.to_str().unwrap()]).ok();
    assert_eq!(tree.entries(), ["edge_2.0.efi"]);
    assert_eq!(check(&tree, false), 0);
    assert_eq!(tree.entries(), ["edge_2.0.efi"], "nothing to fall back to");
    tree.abide(&["apply"]).ok();
    assert_eq!(tree.boot_with_initrd("3.0"), "edge_3.0+2-1.efi");
    booted(&tree, &[]);
    tree.abide(&["assess"]).ok();
    tree.abide(&["commit", "--now"]).ok();
    assert_eq!(tree.entries(), ["edge_2.0.efi", "edge_3.0+3-0.efi"]);
}

#[test]
fn a_system_that_lost_the_other_one_has_no_tries() {
    let mut tree = committed();
    tree.boot_with_initrd("2.0");
    fs::remove_file(tree.entry("edge_1.0.efi")).unwrap();
    assert_eq!(check(&tree, false), 0);
    assert_eq!(tree.entries(), ["edge_2.0.efi"]);
}

#[test]
fn a_rollback_begins_from_a_plain_name() {
    let mut tree = committed();
    tree.boot_with_initrd("2.0");
    tree.abide(&["rollback"]).ok();
    assert_eq!(tree.entries(), ["edge_1.0+3-0.efi", "edge_2.0+0-0.efi"]);
    assert_eq!(tree.boot_with_initrd("1.0"), "edge_1.0+2-1.efi");
    assert_eq!(tree.status()["boot"]["kind"], "trial");
}

#[test]
fn once_it_is_switched_off_the_plain_name_comes_back() {
    let mut tree = committed();
    configure(&tree, SHORT);
    assert_eq!(tree.boot_with_initrd("2.0"), "edge_2.0+2-1.efi");
    assert_eq!(check(&tree, false), 0);
    assert_eq!(tree.entries(), ["edge_1.0.efi", "edge_2.0.efi"]);
    assert_eq!(tree.boot_with_initrd("2.0"), "edge_2.0.efi");
}

#[test]
fn without_the_key_a_commit_leaves_a_plain_name() {
    let mut tree = on_trial("");
    tree.abide(&["commit", "--now"]).ok();
    tree.boot_with_initrd("2.0");
    assert_eq!(check(&tree, false), 0);
    assert_eq!(tree.entries(), ["edge_1.0.efi", "edge_2.0.efi"]);
}

#[test]
fn however_often_both_systems_crash_one_of_them_boots() {
    let mut tree = committed();
    let mut last = vec![];
    for _ in 0..12 {
        let booted = tree.boot();
        // Every other boot gets as far as the initramfs stage, none any further.
        if last.len() % 2 == 0 {
            tree.abide(&["initrd", "early"]).ok();
        }
        last.push(booted);
    }
    assert_eq!(last.last().map(String::as_str), Some("edge_1.0.efi"), "{last:?}");
}

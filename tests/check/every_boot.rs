//! `[assess] every_boot`: a committed system that is not healthy, and never a loop.

use std::fs;

use abide_testing::Tree;

use crate::{SHORT, booted, configure};

/// The checks fail on unhealthy systems, and pass on the others.
fn run(tree: &Tree, is_sick: bool) -> i32 {
    let failed: &[&str] = if is_sick { &["app.service loaded failed failed App"] } else { &[] };
    booted(tree, failed);
    tree.abide(&["assess", "--every-boot"]).code
}

fn reboots(tree: &Tree) -> bool {
    tree.path("run/abide/reboot-requested").exists()
}

/// 2.0 runs, committed, with 1.0 in reserve.
fn updated() -> Tree {
    let mut tree = Tree::running("1.0");
    configure(&tree, &SHORT.replace("[assess]", "[assess]\nevery_boot = true"));
    tree.update("2.0", "b");
    tree
}

#[test]
fn a_healthy_committed_system_is_left_alone_and_nothing_is_written() {
    let tree = updated();
    let before = tree.state();
    assert_eq!(run(&tree, false), 0);
    assert!(!reboots(&tree));
    assert_eq!(tree.state(), before);
}

#[test]
fn without_the_key_nothing_is_checked() {
    let tree = updated();
    configure(&tree, SHORT);
    assert_eq!(run(&tree, true), 0);
    assert!(!reboots(&tree));
}

#[test]
fn a_sick_committed_system_reboots_once_and_is_forgiven_if_healthy_then() {
    let mut tree = updated();
    assert_eq!(run(&tree, true), 1);
    assert!(reboots(&tree));
    assert_eq!(tree.boot_with_initrd("2.0"), "edge_2.0.efi");
    assert_eq!(run(&tree, false), 0);
    assert!(!reboots(&tree));
    assert!(tree.state().unhealthy.is_empty());
    tree.boot_with_initrd("2.0");
    run(&tree, true);
    assert!(reboots(&tree), "another time it may reboot again");
}

#[test]
fn a_system_that_stays_sick_goes_to_the_other_good_one_on_trial() {
    let mut tree = updated();
    run(&tree, true);
    tree.boot_with_initrd("2.0");
    assert_eq!(run(&tree, true), 1);
    assert!(reboots(&tree));
    assert_eq!(tree.boot_with_initrd("1.0"), "edge_1.0+2-1.efi");
    booted(&tree, &[]);
    tree.abide(&["assess"]).ok();
    tree.abide(&["commit", "--now"]).ok();
    assert_eq!(tree.boot_with_initrd("1.0"), "edge_1.0.efi");
    assert_eq!(run(&tree, false), 0);
}

#[test]
fn a_way_back_that_a_script_refuses_is_tried_again_in_the_next_boot() {
    let mut tree = updated();
    run(&tree, true);
    tree.boot_with_initrd("2.0");
    crate::program(&tree, "etc/abide/prepare.d/50-tpm", "echo busy; exit 1");
    assert_eq!(run(&tree, true), 1);
    assert!(!reboots(&tree), "the machine stays");
    tree.boot_with_initrd("2.0");
    crate::program(&tree, "etc/abide/prepare.d/50-tpm", "exit 0");
    run(&tree, true);
    assert!(reboots(&tree));
    assert_eq!(tree.boot_with_initrd("1.0"), "edge_1.0+2-1.efi");
}

/// 2.0 was not healthy twice, 1.0 failed the same check on trial, and 2.0 runs again.
fn after_outage() -> Tree {
    let mut tree = updated();
    run(&tree, true);
    tree.boot_with_initrd("2.0");
    run(&tree, true);
    assert_eq!(tree.boot_with_initrd("1.0"), "edge_1.0+2-1.efi");
    booted(&tree, &["app.service loaded failed failed App"]);
    assert_eq!(tree.abide(&["assess"]).code, 1);
    assert_eq!(tree.boot_with_initrd("2.0"), "edge_2.0.efi");
    tree
}

#[test]
fn a_name_that_an_excused_system_did_not_get_back_is_given_at_the_next_boot() {
    let mut tree = after_outage();
    // The power was cut before the rename, and after the state was saved.
    fs::rename(tree.entry("edge_1.0.efi"), tree.entry("edge_1.0+0-1.efi")).unwrap();
    tree.boot_with_initrd("2.0");
    assert_eq!(tree.entries(), ["edge_1.0.efi", "edge_2.0.efi"]);
}

#[test]
fn an_outage_that_fails_both_systems_marks_neither_as_bad() {
    let mut tree = after_outage();
    assert_eq!(tree.entries(), ["edge_1.0.efi", "edge_2.0.efi"]);
    let status = tree.status();
    assert_eq!(status["failures"].as_array().unwrap().len(), 0, "{status}");
    assert!(status["slots"][0]["good"].as_bool().unwrap(), "{status}");
    for _ in 0..3 {
        assert_eq!(run(&tree, true), 1);
        assert!(!reboots(&tree), "it stays up");
        tree.boot_with_initrd("2.0");
    }
    // The outage is over.
    assert_eq!(run(&tree, false), 0);
    assert!(tree.state().unhealthy.is_empty());
    tree.abide(&["rollback"]).ok();
    assert_eq!(tree.boot_with_initrd("1.0"), "edge_1.0+2-1.efi");
}

/// So many checks that not all of them fit into a record.
fn many(state: &str) -> String {
    let check = |n: usize| crate::command(&format!("{state}-of-a-check-with-a-long-name-{n}"), "");
    let head = SHORT.replace("[assess]", "[assess]\nevery_boot = true\non_failure = 'retry'\ntries = 1");
    head + &(0..20).map(check).collect::<String>()
}

#[test]
fn an_outage_that_fails_very_many_checks_marks_neither_as_bad() {
    let mut tree = updated();
    configure(&tree, &many("gone"));
    run(&tree, false);
    tree.boot_with_initrd("2.0");
    run(&tree, false);
    assert_eq!(tree.boot_with_initrd("1.0"), "edge_1.0+0-1.efi");
    booted(&tree, &[]);
    assert_eq!(tree.abide(&["assess"]).code, 1);
    tree.boot_with_initrd("2.0");
    assert_eq!(tree.status()["failures"].as_array().unwrap().len(), 0, "{}", tree.status());
    assert_eq!(tree.entries(), ["edge_1.0.efi", "edge_2.0.efi"]);
}

#[test]
fn a_new_image_is_not_excused_by_an_outage() {
    let mut tree = after_outage();
    tree.stage("3.0", "a");
    tree.abide(&["apply"]).ok();
    tree.boot_with_initrd("3.0");
    booted(&tree, &["app.service loaded failed failed App"]);
    assert_eq!(tree.abide(&["assess"]).code, 1);
    tree.boot_with_initrd("2.0");
    assert_eq!(tree.status()["failures"][0]["version"], "3.0");
}

#[test]
fn a_system_that_fails_another_check_than_the_one_before_it_is_bad() {
    let mut tree = updated();
    run(&tree, true);
    tree.boot_with_initrd("2.0");
    run(&tree, true);
    tree.boot_with_initrd("1.0");
    booted(&tree, &[]);
    configure(
        &tree,
        &(SHORT.replace("[assess]", "[assess]\nevery_boot = true") + &crate::command("gone", "")),
    );
    assert_eq!(tree.abide(&["assess"]).code, 1);
    tree.boot_with_initrd("2.0");
    assert_eq!(tree.status()["failures"][0]["version"], "1.0");
    assert_eq!(tree.entries(), ["edge_1.0+0-1.efi", "edge_2.0.efi"]);
}

#[test]
fn without_another_good_system_it_stays_up_and_says_so() {
    let mut tree = Tree::running("1.0");
    configure(&tree, &SHORT.replace("[assess]", "[assess]\nevery_boot = true"));
    tree.boot_with_initrd("1.0");
    run(&tree, true);
    assert!(reboots(&tree));
    tree.boot_with_initrd("1.0");
    for _ in 0..3 {
        assert_eq!(run(&tree, true), 1);
        assert!(!reboots(&tree));
        let told = fs::read_to_string(tree.path("run/motd.d/abide")).unwrap();
        assert!(
            told.starts_with("Abide: 1.0 is committed, but not healthy: check 'system' failed: "),
            "{told}"
        );
        tree.boot_with_initrd("1.0");
    }
}

#[test]
fn however_sick_both_systems_are_the_machine_comes_to_rest() {
    // Which of its boots fail, by the bits of a number: every pattern of ten boots, then always.
    for pattern in [0_u32, 0b1, 0b10, 0b101, 0b110, 0b10010, 0b1010101] {
        let mut tree = updated();
        let mut rested = 0;
        for boot in 0..20 {
            let is_sick = boot >= 10 || pattern & (1 << boot) == 0;
            let failed: &[&str] = if is_sick { &["a.service loaded failed failed A"] } else { &[] };
            booted(&tree, failed);
            let on_trial = tree.path("run/abide/trial").exists();
            if on_trial {
                if tree.abide(&["assess"]).code == 0 {
                    tree.abide(&["commit", "--now"]).ok();
                }
            } else {
                tree.abide(&["assess", "--every-boot"]);
            }
            rested = if reboots(&tree) { 0 } else { rested + 1 };
            let version = if tree.boot().starts_with("edge_1.0") { "1.0" } else { "2.0" };
            tree.abide(&["initrd", "early"]).ok();
            tree.mount_sysroot(version);
            tree.abide(&["initrd", "root"]).ok();
        }
        assert!(rested >= 6, "{pattern:b}: it rebooted by itself {rested} boots before the last");
    }
}

#[test]
fn a_trial_is_not_checked_twice() {
    let mut tree = Tree::running("1.0");
    configure(&tree, &SHORT.replace("[assess]", "[assess]\nevery_boot = true"));
    tree.stage("2.0", "b");
    tree.abide(&["apply"]).ok();
    tree.boot_with_initrd("2.0");
    assert_eq!(run(&tree, true), 0);
    assert!(!reboots(&tree));
}

#[test]
fn a_missing_confirmation_does_not_make_a_committed_system_unhealthy() {
    let tree = updated();
    let confirm = "[[check]]\nname = 'operator'\nkind = 'confirm'\nwait = '1s'\n";
    configure(&tree, &(SHORT.replace("[assess]", "[assess]\nevery_boot = true") + confirm));
    assert_eq!(run(&tree, false), 0);
    assert!(!reboots(&tree));
}

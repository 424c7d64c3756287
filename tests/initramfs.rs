//! The initramfs cannot continue, before or after the early stage knows what this boot is, on machines
//! that are folders. What the units do in which order is tried in virtual machines.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::fs;

use abide_core::state::{BootEnd, TrialBoot};
use abide_testing::Tree;

/// The kernel of an update to 2.0 has started, and nothing of the initramfs stage has run.
fn trial_begins() -> Tree {
    let mut tree = Tree::running("1.0");
    tree.stage("2.0", "b");
    tree.abide(&["apply"]).ok();
    tree.boot();
    tree
}

fn boots(tree: &Tree) -> Vec<TrialBoot> {
    tree.state().update.unwrap().boots
}

fn is_lost(boot: &TrialBoot) -> bool {
    matches!(&boot.end, Some(BootEnd::Failed(verdict)) if verdict.reason.contains("the root was not ready in time"))
}

fn is_there(tree: &Tree, name: &str) -> bool {
    tree.path(&format!("run/abide/{name}")).exists()
}

#[test]
fn an_emergency_finds_out_itself_that_this_is_a_trial() {
    let tree = trial_begins();
    tree.abide(&["initrd", "emergency"]).ok();
    assert!(is_there(&tree, "trial"), "the units reboot on that");
    assert!(!is_there(&tree, "reboot-requested"), "the units do it");
    assert!(is_lost(&boots(&tree)[0]), "{:?}", boots(&tree));
    // The early stage comes too late; it changes nothing.
    tree.abide(&["initrd", "early"]).ok();
    tree.abide(&["initrd", "emergency"]).ok();
    assert_eq!(boots(&tree).len(), 1);
    assert!(!is_there(&tree, "reboot-requested"));
}

#[test]
fn an_emergency_never_stops_a_committed_boot() {
    let mut tree = Tree::running("1.0");
    tree.boot();
    tree.abide(&["initrd", "emergency"]).ok();
    tree.abide(&["initrd", "early"]).ok();
    for marker in ["trial", "stranded", "reboot-requested"] {
        assert!(!is_there(&tree, marker), "{marker}");
    }
}

#[test]
fn an_esp_that_shows_up_after_the_emergency_ends_a_trial_and_no_other_boot() {
    for on_trial in [true, false] {
        let tree = if on_trial { trial_begins() } else { Tree::running("1.0") };
        fs::rename(tree.path("efi"), tree.path("elsewhere")).unwrap();
        tree.abide(&["initrd", "early"]).ok();
        tree.abide(&["initrd", "emergency"]).ok();
        assert!(!is_there(&tree, "trial") && !is_there(&tree, "reboot-requested"));
        fs::rename(tree.path("elsewhere"), tree.path("efi")).unwrap();
        tree.abide(&["initrd", "early"]).ok();
        assert_eq!(is_there(&tree, "reboot-requested"), on_trial);
        assert!(!on_trial || is_lost(&boots(&tree)[0]));
    }
}

#[test]
fn an_early_stage_that_was_killed_half_way_is_done_again() {
    let tree = trial_begins();
    // It has come as far as the marker.
    fs::create_dir_all(tree.path("run/abide")).unwrap();
    fs::write(tree.path("run/abide/trial"), "").unwrap();
    tree.mount_sysroot("2.0");
    tree.abide(&["initrd", "root"]).ok();
    assert_eq!(boots(&tree).len(), 1, "the breadcrumb");
    assert_eq!(tree.status()["boot"]["kind"], "trial");
}

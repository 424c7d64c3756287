//! What the commands do with a state that is full, or of a newer Abide.

use std::fs;
use std::path::PathBuf;

use abide_core::state::{BootEnd, FailedCheck, Phase, Verdict};
use abide_testing::tree::{Tree, cmdline, read};
use abide_testing::uki::uki;

use crate::formats::generation;

fn generations(tree: &Tree) -> [PathBuf; 2] {
    ["state.0", "state.1"].map(|file| tree.path("efi/EFI/abide").join(file))
}

/// 1.0 runs and is committed; 2.0 is on trial from the next boot, by a state that only a newer Abide understands.
fn foreign() -> Tree {
    let tree = Tree::running("1.0");
    tree.stage("2.0", "b");
    tree.abide(&["apply"]).ok();
    for (file, sequence) in generations(&tree).iter().zip([98, 99]) {
        fs::write(file, generation(2, sequence, "{}")).unwrap();
    }
    tree
}

#[test]
fn no_command_changes_anything_that_a_newer_abide_has_recorded() {
    let mut tree = foreign();
    tree.abide(&["initrd", "early"]).ok();
    let before = || (generations(&tree).map(|file| read(&file)), tree.entries());
    let was = before();
    for words in [&["apply"][..], &["commit"], &["rollback"], &["cancel"], &["forget", "--all"]] {
        let said = tree.abide(words).fails(6).stderr;
        assert!(said.contains("newer Abide") && said.contains("install that Abide"), "{words:?}: {said}");
    }
    assert_eq!(before(), was);
    let status = tree.status();
    assert_eq!(status["boot"]["kind"], "unknown");
    assert!(tree.abide(&["doctor"]).stdout.contains("newer Abide"));
    // A boot that was not counted stays up.
    tree.boot_with_initrd("1.0");
}

#[test]
fn a_counted_boot_with_a_state_of_a_newer_abide_ends_at_its_deadline() {
    let mut tree = foreign();
    assert_eq!(tree.boot(), "edge_2.0+2-1.efi");
    tree.abide(&["initrd", "guard"]).ok();
    tree.abide(&["initrd", "early"]).ok();
    assert!(!tree.path("run/abide/boot.json").exists(), "nothing says what this boot is");
    tree.abide(&["initrd", "emergency"]).ok();
    assert!(tree.path("run/abide/trial").exists(), "an emergency ends in a reboot");
}

#[test]
fn however_many_checks_fail_every_command_still_works() {
    for boots in [1, 3, 9] {
        let mut tree = Tree::running("1.0");
        for version in ["2.0", "3.0", "4.0"] {
            tree.stage(version, "b");
            tree.abide(&["apply"]).ok();
            tree.boot_with_initrd(version);
            let long = "\u{1}".repeat(100_000);
            let check =
                |n| FailedCheck { name: format!("{n}{long}"), reason: long.clone(), output: long.clone() };
            let verdict =
                Verdict { phase: Phase::Checks, reason: long.clone(), checks: (0..40).map(check).collect() };
            let mut state = tree.state();
            let update = state.update.as_mut().unwrap();
            update.boots[0].end = Some(BootEnd::Failed(verdict));
            let first = update.boots[0].clone();
            update.boots.resize(boots, first);
            tree.save(&state);
            tree.abide(&["rollback", "--reason", &"x".repeat(100_000)]).ok();
            tree.boot_with_initrd("1.0");
            assert_eq!(tree.status()["boot"]["kind"], "fallback");
            tree.stage(version, "b");
            tree.abide(&["apply"]).fails(6);
            for command in ["status", "list", "doctor"] {
                assert!(tree.abide(&[command]).code < 2, "{command}");
            }
        }
        assert_eq!(tree.state().failures.len(), 3);
        fs::write(tree.entry("edge_2.0.efi"), uki("edge", "2.0", &cmdline("b"))).unwrap();
        tree.abide(&["forget", "--all"]).ok();
        assert!(tree.state().failures.is_empty());
    }
}

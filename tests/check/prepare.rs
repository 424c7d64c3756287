//! The scripts in `prepare.d`: before another system is put on trial, and able to refuse it.

use std::fs;

use abide_core::state::Stage;
use abide_testing::{Run, Tree, program as program_of};

use super::program;

/// A machine with a staged update and a script that writes to `log`.
fn staged(script: &str) -> Tree {
    let tree = Tree::running("1.0");
    tree.stage("2.0", "b");
    program(&tree, "usr/lib/abide/prepare.d/10-policy", script);
    tree
}

/// Everything on the ESP is as it was: the update waits.
#[track_caller]
fn still_staged(tree: &Tree) {
    assert_eq!(tree.entries(), ["edge_1.0.efi"]);
    let update = tree.state().update.unwrap();
    assert_eq!((update.stage, update.entry.as_str()), (Stage::Staged, ""));
}

fn log(tree: &Tree) -> String {
    fs::read_to_string(tree.path("log")).unwrap_or_default()
}

#[test]
fn a_script_gets_both_systems_before_anything_is_changed() {
    let tree = staged(
        "test -f \"$ABIDE_UKI\" && test -f \"$ABIDE_RUNNING_UKI\" && ls efi/EFI/Linux > log
         echo $ABIDE_EVENT $ABIDE_VERSION $ABIDE_PREVIOUS_VERSION $ABIDE_SLOT ${#ABIDE_DIGEST} >> log
         echo ${ABIDE_UKI##*/} ${ABIDE_RUNNING_UKI##*/} >> log",
    );
    tree.abide(&["apply"]).ok();
    assert_eq!(log(&tree), "edge_1.0.efi\nstaged.uki\nprepare 2.0 1.0 b 64\nstaged.uki edge_1.0.efi\n");
    assert_eq!(tree.entries(), ["edge_1.0.efi", "edge_2.0+3-0.efi"]);
    // Repeated, it gets the file under its new name.
    tree.abide(&["apply"]).ok();
    assert!(log(&tree).ends_with("edge_2.0+3-0.efi edge_1.0.efi\n"), "{}", log(&tree));
}

#[test]
fn a_script_that_fails_or_hangs_refuses_the_update_which_stays_staged() {
    let tree = staged("echo first; echo no TPM here >&2; exit 3");
    let run = tree.abide(&["apply"]).fails(6);
    let told =
        "the script prepare.d/10-policy refuses 2.0: exit status: 3: no TPM here; nothing was changed\n";
    assert!(run.stderr.ends_with(told), "{}", run.stderr);
    still_staged(&tree);

    program(&tree, "usr/lib/abide/prepare.d/10-policy", "echo waiting; sleep 60");
    fs::create_dir_all(tree.path("etc/abide")).unwrap();
    fs::write(tree.path("etc/abide/abide.toml"), "[scripts]\ntimeout = '1s'\n").unwrap();
    let run = tree.abide(&["apply", "--reboot"]).fails(6);
    assert!(run.stderr.contains("10-policy refuses 2.0: did not end in time: waiting"), "{}", run.stderr);
    assert!(!tree.path("run/abide/reboot-requested").exists());
    still_staged(&tree);

    // A script of the administrator replaces it.
    program(&tree, "etc/abide/prepare.d/10-policy", "exit 0");
    tree.abide(&["apply"]).ok();
}

#[test]
fn a_script_that_cannot_be_run_refuses_the_update() {
    let tree = staged("exit 0");
    let dir = tree.path("etc/abide/prepare.d");
    fs::create_dir_all(&dir).unwrap();
    for (name, make) in [
        ("50-pcrlock", "echo x >50-pcrlock"),
        ("60-link", "ln -s /nowhere 60-link"),
        ("70-folder", "mkdir 70-folder"),
    ] {
        Run::of(program_of("sh").args(["-c", make]).current_dir(&dir)).ok();
        let run = tree.abide(&["apply"]).fails(6);
        let told = format!("prepare.d/{name} is not an executable file");
        assert!(run.stderr.contains(&told), "{}", run.stderr);
        still_staged(&tree);
        Run::of(program_of("rm").args(["-rf", name]).current_dir(&dir)).ok();
    }
    for make in ["echo x >README.md", "echo x >50-pcrlock~", "ln -s /dev/null 10-policy"] {
        Run::of(program_of("sh").args(["-c", make]).current_dir(&dir)).ok();
    }
    tree.abide(&["apply"]).ok();
}

#[test]
fn an_update_that_a_script_has_changed_is_not_applied() {
    for change in ["printf x >>\"$ABIDE_UKI\"", "rm \"$ABIDE_UKI\""] {
        let tree = staged(change);
        let run = tree.abide(&["apply"]);
        assert!([5, 7].contains(&run.code), "{change}: {run:?}");
        still_staged(&tree);
    }
}

#[test]
fn the_tool_under_its_other_name_asks_the_scripts_too() {
    let tree = staged("exit 1");
    let run = tree.called("os-update-tool.sh", &["-a"]);
    assert_ne!(run.code, 0);
    assert!(run.stderr.contains("prepare.d/10-policy"), "{run:?}");
    still_staged(&tree);
}

#[test]
fn a_cut_in_a_script_leaves_the_update_staged() {
    // The script ends Abide as a power cut does.
    let tree = staged("touch log; kill -9 $PPID");
    let run = Run::of(tree.command().arg("apply"));
    assert_eq!(run.code, -1, "{run:?}");
    assert!(tree.path("log").exists());
    still_staged(&tree);
    program(&tree, "usr/lib/abide/prepare.d/10-policy", "");
    tree.abide(&["apply"]).ok();
}

#[test]
fn scripts_that_are_off_or_disabled_do_not_run() {
    for setting in ["enabled = false", "disabled = ['10-policy']"] {
        let tree = staged("exit 1");
        fs::create_dir_all(tree.path("etc/abide")).unwrap();
        fs::write(tree.path("etc/abide/abide.toml"), format!("[scripts]\n{setting}\n")).unwrap();
        tree.abide(&["apply"]).ok();
    }
}

#[test]
fn a_rollback_to_the_other_slot_is_prepared_and_a_failed_trial_is_not() {
    let mut tree = staged("echo $ABIDE_VERSION ${ABIDE_UKI##*/} ${ABIDE_RUNNING_UKI##*/} >> log");
    tree.abide(&["apply"]).ok();
    tree.boot_with_initrd("2.0");
    tree.abide(&["commit", "--now"]).ok();
    tree.boot_with_initrd("2.0");
    fs::remove_file(tree.path("log")).unwrap();
    program(&tree, "usr/lib/abide/prepare.d/20-no", "exit 1");
    let before = tree.entries();
    tree.abide(&["rollback"]).fails(6);
    assert_eq!(tree.entries(), before);
    fs::remove_file(tree.path("usr/lib/abide/prepare.d/20-no")).unwrap();
    tree.abide(&["rollback"]).ok();
    assert_eq!(log(&tree), "1.0 edge_1.0.efi edge_2.0.efi\n".repeat(2));
    tree.boot_with_initrd("1.0");
    tree.abide(&["rollback"]).ok();
    assert_eq!(log(&tree), "1.0 edge_1.0.efi edge_2.0.efi\n".repeat(2));
}

#[test]
fn a_system_that_a_script_has_changed_is_not_rolled_back_to() {
    let mut tree = staged("exit 0");
    tree.abide(&["apply"]).ok();
    tree.boot_with_initrd("2.0");
    tree.abide(&["commit", "--now"]).ok();
    tree.boot_with_initrd("2.0");
    let before = tree.entries();
    program(&tree, "usr/lib/abide/prepare.d/10-policy", "printf x >>\"$ABIDE_UKI\"");
    let run = tree.abide(&["rollback"]).fails(7);
    assert!(run.stderr.contains("prepare.d has changed EFI/Linux/edge_1.0.efi"), "{}", run.stderr);
    assert_eq!(tree.entries(), before);
}

#[test]
fn after_a_commit_and_a_fallback_scripts_get_the_running_uki() {
    let mut tree = staged("exit 0");
    let script = "test -f \"$ABIDE_RUNNING_UKI\" && echo $ABIDE_EVENT ${ABIDE_RUNNING_UKI##*/} >> log";
    program(&tree, "etc/abide/committed.d/policy", script);
    program(&tree, "etc/abide/rolled-back.d/policy", script);
    tree.abide(&["apply"]).ok();
    tree.boot_with_initrd("2.0");
    tree.abide(&["commit", "--now"]).ok();
    assert_eq!(log(&tree), "committed edge_2.0.efi\n");
    tree.boot_with_initrd("2.0");
    tree.stage("3.0", "a");
    tree.abide(&["apply"]).ok();
    tree.boot_with_initrd("3.0");
    tree.abide(&["rollback"]).ok();
    tree.boot_with_initrd("2.0");
    tree.abide(&["report", "--settle"]).ok();
    assert_eq!(log(&tree), "committed edge_2.0.efi\nrolled-back edge_2.0.efi\n");
}

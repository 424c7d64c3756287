//! `-c` on a trial: evidence, and how long it is waited for.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

use abide_testing::{Tree, program};
use nix::fcntl::{Flock, FlockArg};

use crate::{FILE_CHECK, configure, image, machine, on_trial, publish, tool};

#[test]
fn a_commit_after_a_fallback_says_why_and_exits_as_upstream_does() {
    let mut tree = machine();
    let (path, sha256) = publish(&tree, "edge.raw.gz", &image("3.1", "b"));
    tool(&tree, &["-w", "-a", "-u", &path, "-s", &sha256]).ok();
    for _ in 0..3 {
        tree.boot();
    }
    for _ in 0..2 {
        assert_eq!(tree.boot_with_initrd("3.0"), "linux.efi");
        let run = tool(&tree, &["-c"]).ok();
        assert!(run.stderr.contains("3.1 was rolled back: 3 tries used up"), "{}", run.stderr);
        assert_eq!(tree.entries(), ["edge_3.1+0-3.efi", "linux.efi"]);
    }
    assert_eq!(tree.state().update.unwrap().stage, abide_core::state::Stage::Failed);
}

#[test]
fn a_commit_waits_until_the_checks_have_passed() {
    let tree = on_trial();
    // It fails the first time. Programs of checks are those of the tree.
    let (probe, seen) = (tree.path("usr/bin/probe"), tree.path("seen"));
    fs::create_dir_all(probe.parent().unwrap()).unwrap();
    let script = format!("#!/bin/sh\ntest -e {0} && exit 0\ntouch {0}\nexit 1\n", seen.display());
    fs::write(&probe, script).unwrap();
    fs::set_permissions(&probe, fs::Permissions::from_mode(0o755)).unwrap();
    configure(&tree, "[[check]]\nname = 'app'\nkind = 'command'\ncommand = ['/usr/bin/probe']\n");
    tool(&tree, &["-c"]).ok();
    assert!(seen.exists());
    assert_eq!(tree.entries(), ["edge_3.1.efi", "linux.efi"]);
}

#[test]
fn a_commit_without_evidence_exits_with_4_and_spoils_nothing() {
    let tree = on_trial();
    fs::remove_file(tree.path("opt/ready")).unwrap();
    configure(&tree, &format!("{FILE_CHECK}[emt]\ncommit_wait = '1s'\n"));
    let run = tool(&tree, &["-c"]).fails(4);
    assert!(
        run.stderr.contains("check 'app': ") && run.stderr.contains("the assessment continues"),
        "{}",
        run.stderr
    );
    tree.abide(&["commit"]).fails(6);
    assert_eq!(tree.entries(), ["edge_3.1+2-1.efi", "linux.efi"]);
    fs::write(tree.path("opt/ready"), "").unwrap();
    tree.abide(&["commit"]).ok();
    assert_eq!(tree.entries(), ["edge_3.1.efi", "linux.efi"]);
    tool(&tree, &["-c"]).ok();
}

#[test]
fn a_commit_at_once_asks_for_no_evidence() {
    let tree = on_trial();
    fs::remove_file(tree.path("opt/ready")).unwrap();
    configure(&tree, &format!("{FILE_CHECK}[emt]\ncommit = 'at-once'\n"));
    tool(&tree, &["-c"]).ok();
    assert_eq!(tree.entries(), ["edge_3.1.efi", "linux.efi"]);
}

#[test]
fn the_results_of_this_boots_assessment_are_the_evidence() {
    let tree = on_trial();
    fs::remove_file(tree.path("opt/ready")).unwrap();
    configure(&tree, &format!("{FILE_CHECK}[emt]\ncommit_wait = '1s'\n"));
    let results = |boot: &str, result: &str| {
        let check =
            format!(r#"{{"name":"app","required":true,"result":"{result}","reason":"","seconds":0}}"#);
        let text = format!(r#"{{"boot_id":"{boot}","deadline":1200,"checks":[{check}]}}"#);
        fs::write(tree.path("run/abide/checks.json"), text).unwrap();
    };
    let assessing = assessing(&tree);
    let boot = fs::read_to_string(tree.path("proc/sys/kernel/random/boot_id")).unwrap();
    results("another", "pass");
    tool(&tree, &["-c"]).fails(4);
    results(boot.trim(), "pending");
    assert!(tool(&tree, &["-c"]).fails(4).stderr.contains("check 'app' has not ended yet"));
    // An assessment that has died says nothing about the system as it is now.
    drop(assessing);
    results(boot.trim(), "pass");
    assert!(tool(&tree, &["-c"]).fails(4).stderr.contains("/opt/ready"));
    let _assessing = self::assessing(&tree);
    tool(&tree, &["-c"]).ok();
}

#[test]
fn results_of_an_assessment_that_has_died_keep_no_commit_waiting() {
    let tree = on_trial();
    let boot = fs::read_to_string(tree.path("proc/sys/kernel/random/boot_id")).unwrap();
    let text = format!(
        r#"{{"boot_id":"{}","deadline":1200,"checks":[{{"name":"app","required":true,"result":"pending","reason":"","seconds":0}}]}}"#,
        boot.trim()
    );
    fs::write(tree.path("run/abide/checks.json"), text).unwrap();
    tool(&tree, &["-c"]).ok();
}

#[test]
fn a_commit_that_waits_runs_the_checks_no_more_than_once_a_second() {
    let tree = on_trial();
    let runs = tree.path("runs");
    let check = "[[check]]\nname = 'app'\nkind = 'command'\n";
    let line = format!("echo run >> '{}'; false", runs.display());
    let text = format!("{check}command = ['sh', '-c', \"{line}\"]\n[emt]\ncommit_wait = '2s'\n");
    configure(&tree, &text);
    tool(&tree, &["-c"]).fails(4);
    let runs = fs::read_to_string(runs).unwrap().lines().count();
    assert!((1..=3).contains(&runs), "{runs}");
}

/// What an assessment holds while it runs.
fn assessing(tree: &Tree) -> impl Sized {
    let file = fs::File::create(tree.path("run/abide/assessing")).unwrap();
    Flock::lock(file, FlockArg::LockShared).unwrap()
}

#[test]
fn a_call_is_not_the_answer_that_a_confirm_check_waits_for() {
    let tree = on_trial();
    let confirm = "[[check]]\nname = 'operator'\nkind = 'confirm'\n";
    configure(&tree, &format!("{FILE_CHECK}{confirm}[emt]\ncommit_wait = '1s'\n"));
    assert!(tool(&tree, &["-c"]).fails(4).stderr.contains("waiting for `abide confirm`"));
    tree.abide(&["confirm"]).ok();
    tool(&tree, &["-c"]).ok();
}

#[test]
fn a_commit_waits_for_the_lock_that_the_assessment_holds() {
    let tree = on_trial();
    tool(&tree, &["-v"]).ok();
    let lock = abide_core::state::Lock::take(&tree.root()).unwrap();
    let mut command = program(tree.path("os-update-tool.sh"));
    let mut child =
        command.arg("-c").env("ABIDE_ROOT", tree.dir.path()).stderr(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stderr.as_mut().unwrap()).read_line(&mut line).unwrap();
    assert!(line.contains("waiting for the lock"), "{line}");
    drop(lock);
    assert!(child.wait().unwrap().success());
    assert_eq!(tree.entries(), ["edge_3.1.efi", "linux.efi"]);
}

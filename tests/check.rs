//! `abide check` and `abide assess` on machines that are folders, with a systemctl that says what the
//! test wants.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt;

use support::Tree;

/// A program of the tree, in shell.
fn program(tree: &Tree, path: &str, script: &str) {
    let path = tree.path(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// A systemd that has booted, with these units failed.
fn booted(tree: &Tree, failed: &[&str]) {
    let failed = failed.join("\\n");
    program(
        tree,
        "usr/bin/systemctl",
        &format!(
            "case $1 in\n\
             list-units) printf '{failed}' ;;\n\
             show) printf 'Id=multi-user.target\\nActiveState=active\\n\\n\
             Id=emergency.target\\nActiveState=inactive\\n\\nId=rescue.target\\nActiveState=inactive\\n' ;;\n\
             esac"
        ),
    );
}

fn configure(tree: &Tree, text: &str) {
    fs::create_dir_all(tree.path("etc/abide")).unwrap();
    fs::write(tree.path("etc/abide/abide.toml"), text).unwrap();
}

fn command(name: &str, keys: &str) -> String {
    format!(
        "[[check]]\nname = '{name}'\nkind = 'command'\ncommand = ['/usr/bin/{name}']\ninterval = '100ms'\n{keys}\n"
    )
}

const SHORT: &str = "[assess]\ntest_window = '300ms'\ndeadline = '20s'\n";

/// 2.0 runs, on trial, with 1.0 beside it.
fn on_trial() -> Tree {
    let mut tree = Tree::running("1.0");
    tree.stage("2.0", "b");
    tree.abide(&["apply"]).ok();
    tree.boot_with_initrd("2.0");
    tree
}

#[test]
fn without_configuration_a_booted_system_is_healthy() {
    let tree = Tree::running("1.0");
    booted(&tree, &[]);
    let answer = tree.abide(&["check", "--json"]).ok().json();
    assert_eq!(answer["schema"], 1);
    assert_eq!(answer["healthy"], true);
    assert_eq!(answer["checks"][0]["name"], "system");
    assert_eq!(answer["checks"][0]["result"], "pass");
    assert_eq!(answer["checks"][0]["reason"], "");
    assert!(answer["checks"][0]["seconds"].is_f64());
}

#[test]
fn a_failed_unit_makes_the_system_unhealthy_and_is_named() {
    let tree = Tree::running("1.0");
    booted(&tree, &["app.service loaded failed failed App", "other.service loaded failed failed Other"]);
    let run = tree.abide(&["check"]).fails(1);
    assert!(run.stdout.contains("FAIL"), "{}", run.stdout);
    assert!(run.stdout.contains("failed: app.service, other.service"), "{}", run.stdout);
    assert_eq!(run.stderr, "abide: not healthy: system failed\n");
}

#[test]
fn a_wanted_check_may_fail() {
    let tree = Tree::running("1.0");
    program(&tree, "usr/bin/a", "exit 0");
    program(&tree, "usr/bin/b", "echo nobody there; exit 3");
    configure(&tree, &(command("a", "") + &command("b", "required = false")));
    let answer = tree.abide(&["check", "--json"]).ok().json();
    assert_eq!(answer["checks"][1]["result"], "fail");
    assert_eq!(answer["checks"][1]["required"], false);
    assert_eq!(answer["checks"][1]["reason"], "/usr/bin/b exited with status 3: nobody there");
}

#[test]
fn checking_changes_nothing() {
    let tree = on_trial();
    program(&tree, "usr/bin/a", "exit 1");
    configure(&tree, &command("a", ""));
    tree.abide(&["check"]).fails(1);
    assert_eq!(tree.entries(), ["edge_1.0.efi", "edge_2.0+2-1.efi"]);
    assert!(!tree.path("run/abide/reboot-requested").exists());
}

#[test]
fn a_healthy_trial_passes_and_can_be_committed() {
    let tree = on_trial();
    program(&tree, "usr/bin/a", "exit 0");
    booted(&tree, &["old.service loaded failed failed Old"]);
    configure(&tree, &(SHORT.to_owned() + &command("a", "")));
    tree.abide(&["assess"]).ok();
    assert_eq!(tree.status()["checks"][0]["result"], "pass");
    assert_eq!(tree.status()["update"]["subStatus"], "UPDATE_TESTING");
    tree.abide(&["commit"]).ok();
    assert_eq!(tree.entries(), ["edge_1.0.efi", "edge_2.0.efi"]);
    let baseline = tree.state().baseline;
    assert_eq!(baseline.passed_checks, ["a"]);
    assert_eq!(baseline.failed_units, ["old.service"]);
}

#[test]
fn a_committed_boot_is_not_assessed() {
    let mut tree = Tree::running("1.0");
    tree.boot_with_initrd("1.0");
    configure(&tree, &command("missing", ""));
    tree.abide(&["assess"]).ok();
    assert!(!tree.path("run/abide/checks.json").exists());
}

#[test]
fn a_check_that_fails_for_good_rolls_back_with_its_name_and_reason_in_the_record() {
    let mut tree = on_trial();
    configure(&tree, &(SHORT.to_owned() + &command("missing", "")));
    let run = tree.abide(&["assess"]).fails(1);
    assert!(run.stderr.contains("check 'missing': cannot run /usr/bin/missing"), "{}", run.stderr);
    assert!(tree.path("run/abide/reboot-requested").exists());
    assert_eq!(tree.boot_with_initrd("1.0"), "edge_1.0.efi");
    let failure = &tree.status()["failures"][0];
    assert_eq!(failure["version"], "2.0");
    assert_eq!(failure["phase"], "checks");
    assert_eq!(failure["attempts"], 1);
    assert_eq!(failure["checks"][0]["name"], "missing");
}

#[test]
fn with_retry_the_tries_are_used_up_one_by_one() {
    let mut tree = on_trial();
    program(&tree, "usr/bin/a", "exit 1");
    configure(
        &tree,
        &("[assess]\ntest_window = '300ms'\ndeadline = '1s'\non_failure = 'retry'\n".to_owned()
            + &command("a", "")),
    );
    tree.abide(&["assess"]).fails(1);
    assert!(tree.path("run/abide/reboot-requested").exists());
    for name in ["edge_2.0+1-2.efi", "edge_2.0+0-3.efi"] {
        assert_eq!(tree.boot_with_initrd("2.0"), name);
        tree.abide(&["assess"]).fails(1);
    }
    assert_eq!(tree.boot_with_initrd("1.0"), "edge_1.0.efi");
    let failure = &tree.status()["failures"][0];
    assert_eq!(failure["attempts"], 3);
    assert_eq!(failure["checks"][0]["name"], "a");
}

#[test]
fn a_configuration_that_cannot_be_read_fails_the_trial() {
    let mut tree = on_trial();
    configure(&tree, "[assess]\ntest_windw = '1s'\n");
    tree.abide(&["assess"]).fails(2);
    assert!(tree.path("run/abide/reboot-requested").exists());
    fs::remove_file(tree.path("etc/abide/abide.toml")).unwrap();
    assert_eq!(tree.boot_with_initrd("1.0"), "edge_1.0.efi");
    let reason = tree.status()["failures"][0]["reason"].to_string();
    assert!(reason.contains("unknown key 'test_windw'"), "{reason}");
}

#[test]
fn a_check_that_had_not_passed_before_does_not_fail_the_trial() {
    let tree = on_trial();
    program(&tree, "usr/bin/a", "exit 0");
    program(&tree, "usr/bin/b", "exit 1");
    configure(&tree, &(SHORT.to_owned() + &command("a", "") + &command("b", "only_if_passed_before = true")));
    tree.abide(&["assess"]).ok();
}

#[test]
fn the_deadline_unit_ends_a_trial_whose_checks_never_began() {
    let mut tree = on_trial();
    program(
        &tree,
        "usr/bin/systemctl",
        "case $1 in\n\
         list-jobs) echo '7 hang.service start running'; echo '2 multi-user.target start waiting' ;;\n\
         show) printf 'Id=multi-user.target\\nActiveState=inactive\\n\\nId=e\\nActiveState=inactive\\n\\n\
         Id=r\\nActiveState=inactive\\n' ;;\n\
         esac",
    );
    tree.abide(&["assess", "--deadline"]).ok();
    assert!(tree.path("run/abide/reboot-requested").exists());
    assert_eq!(tree.boot_with_initrd("1.0"), "edge_1.0.efi");
    let failure = &tree.status()["failures"][0];
    assert_eq!(
        failure["reason"],
        "the deadline of 20min has passed before the checks began: \
         multi-user.target is not reached; still starting: hang.service"
    );
    assert_eq!(failure["phase"], "userspace");
}

#[test]
fn the_rollback_unit_says_how_the_assessment_died() {
    let mut tree = on_trial();
    program(
        &tree,
        "usr/bin/systemctl",
        "case \"$1 $*\" in\n\
         *abide-assess.service) printf 'LoadState=loaded\\nActiveState=failed\\nResult=signal\\n\
         ExecMainCode=2\\nExecMainStatus=9\\n' ;;\n\
         show*) printf 'Id=multi-user.target\\nActiveState=active\\n\\nId=e\\nActiveState=inactive\\n\\n\
         Id=r\\nActiveState=inactive\\n' ;;\n\
         esac",
    );
    tree.abide(&["assess", "--failed"]).ok();
    assert_eq!(tree.boot_with_initrd("1.0"), "edge_1.0.efi");
    assert_eq!(
        tree.status()["failures"][0]["reason"],
        "the assessment has died: abide-assess.service failed (signal, signal 9)"
    );
}

#[test]
fn ending_a_trial_twice_keeps_the_first_reason() {
    let mut tree = on_trial();
    configure(&tree, &(SHORT.to_owned() + &command("missing", "")));
    tree.abide(&["assess"]).fails(1);
    tree.abide(&["assess", "--failed"]).ok();
    tree.boot_with_initrd("1.0");
    let failures = tree.status()["failures"].as_array().unwrap().clone();
    assert_eq!(failures.len(), 1);
    assert!(failures[0]["reason"].to_string().contains("missing"));
}

#[test]
fn a_committed_system_is_not_ended_by_a_late_deadline() {
    let tree = on_trial();
    tree.abide(&["commit"]).ok();
    tree.abide(&["assess", "--deadline"]).ok();
    assert!(!tree.path("run/abide/reboot-requested").exists());
    assert_eq!(tree.entries(), ["edge_1.0.efi", "edge_2.0.efi"]);
}

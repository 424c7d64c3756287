//! `abide assess`: a trial, from its checks to its end.

use std::fs;

use abide_testing::Tree;

use crate::{SHORT, booted, command, configure, on_trial, program};

#[test]
fn a_healthy_trial_passes_and_can_be_committed() {
    let tree = on_trial();
    program(&tree, "usr/bin/a", "exit 0");
    booted(&tree, &["old.service loaded failed failed Old"]);
    configure(&tree, &(SHORT.to_owned() + &command("a", "")));
    tree.abide(&["assess"]).ok();
    assert_eq!(tree.status()["checks"][0]["result"], "pass");
    assert_eq!(tree.status()["update"]["subStatus"], "UPDATE_TESTING");
    tree.abide(&["commit", "--now"]).ok();
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
fn a_check_that_fails_for_good_rolls_back_and_is_on_record() {
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
        "the assessment ended without a result: abide-assess.service failed (signal, signal 9)"
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
    tree.abide(&["commit", "--now"]).ok();
    tree.abide(&["assess", "--deadline"]).ok();
    assert!(!tree.path("run/abide/reboot-requested").exists());
    assert_eq!(tree.entries(), ["edge_1.0.efi", "edge_2.0.efi"]);
}

#[test]
fn a_required_check_that_flaps_during_the_window_blocks_the_commit() {
    for (allowed, code) in [(0, 1), (1, 0)] {
        let tree = on_trial();
        let runs = tree.path("runs").display().to_string();
        // Every other run fails.
        program(&tree, "usr/bin/a", &format!("echo x >> '{runs}'; test $(($(wc -l < '{runs}') % 2)) = 1"));
        let limits = "[assess]\ntest_window = '500ms'\ndeadline = '4s'\n".to_owned();
        configure(&tree, &(limits + &command("a", &format!("failures_allowed = {allowed}"))));
        let run = tree.abide(&["assess"]);
        assert_eq!(run.code, code, "{allowed} allowed: {}", run.stderr);
        assert!(tree.abide(&["list"]).ok().stdout.contains("trial: 2 left") || code == 1);
    }
}

#[test]
fn a_failed_unit_that_a_timer_starts_again_has_until_the_deadline() {
    let failed = "timed.service loaded failed failed Timed";
    let limits = "[assess]\ntest_window = '300ms'\ndeadline = '2s'\n".to_owned();
    let unit = "[[check]]\nname = 'timed'\nkind = 'unit'\nunits = 'timed.service'\ninterval = '100ms'\n";
    let system = "[[check]]\nname = 'system'\nkind = 'system'\ninterval = '100ms'\n";
    for (check, reason) in [
        (system, "check 'system': failed: timed.service (timed.timer starts it again)"),
        (unit, "check 'timed': timed.service failed (); timed.timer starts it again"),
    ] {
        let tree = on_trial();
        booted(&tree, &[failed]);
        configure(&tree, &(limits.clone() + check));
        let run = tree.abide(&["assess"]).fails(1);
        // Not at the first look.
        assert!(run.stderr.contains("deadline"), "{}", run.stderr);
        assert!(run.stderr.contains(reason), "{}", run.stderr);
    }
}

#[test]
fn a_unit_that_its_timer_has_started_again_fails_no_trial() {
    let tree = on_trial();
    booted(&tree, &["timed.service loaded failed failed Timed"]);
    configure(&tree, &SHORT.replace("20s", "30s"));
    let recovered = std::thread::scope(|scope| {
        let assess = scope.spawn(|| tree.abide(&["assess"]));
        while tree.status()["checks"][0]["result"] != "fail" {
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        booted(&tree, &[]);
        assess.join().unwrap()
    });
    recovered.ok();
}

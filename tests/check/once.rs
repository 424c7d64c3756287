//! `abide check`: once, on a running system, and nothing is decided.

use abide_testing::Tree;

use crate::{booted, command, configure, on_trial, program};

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
fn the_slowest_check_comes_first_on_request_without_colours_in_a_file() {
    let tree = Tree::running("1.0");
    program(&tree, "usr/bin/quick", "exit 0");
    program(&tree, "usr/bin/slow", "sleep 0.5");
    configure(&tree, &(command("quick", "") + &command("slow", "")));
    let first = |words: &[&str]| {
        let text = tree.abide(words).ok().stdout;
        assert!(!text.contains('\x1b'), "{text}");
        text.lines().nth(1).unwrap().split(' ').next().unwrap().to_owned()
    };
    assert_eq!(first(&["check"]), "quick");
    assert_eq!(first(&["check", "--slowest"]), "slow");
}

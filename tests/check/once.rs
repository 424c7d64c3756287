//! `abide check`: once, on a running system, and nothing is decided.

use abide_testing::{Run, Tree};

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

#[test]
fn units_that_had_failed_before_under_another_name_are_overlooked() {
    let id = |digit: &str| digit.repeat(64);
    let failed = |id: &str, rest: &str| format!("{id}{rest}.service loaded failed failed X");
    let tree = on_trial();
    booted(&tree, &[&failed(&id("1"), "-5f0e1d2c3b4a5968"), &failed("sync", "@3")]);
    configure(&tree, crate::SHORT);
    program(&tree, "usr/bin/well", "exit 0");
    configure(&tree, &(crate::SHORT.to_owned() + &command("well", "")));
    tree.abide(&["assess"]).ok();
    tree.abide(&["commit", "--now"]).ok();
    configure(&tree, crate::SHORT);
    booted(&tree, &[&failed(&id("2"), "-1122334455667788"), &failed("sync", "@4")]);
    tree.abide(&["check"]).ok();
    booted(&tree, &[&failed(&id("2"), "-1122334455667788"), &failed("other", "@4")]);
    let run = tree.abide(&["check"]).fails(1);
    assert!(run.stdout.contains("failed: other@4.service\n"), "{}", run.stdout);
}

#[test]
fn a_confirmation_is_not_asked_of_a_committed_system() {
    let tree = Tree::running("1.0");
    booted(&tree, &[]);
    configure(&tree, "[[check]]\nname = 'operator'\nkind = 'confirm'\n");
    let answer = tree.abide(&["check", "--json"]).ok().json();
    assert_eq!(answer["healthy"], true);
    assert_eq!(answer["checks"][0]["result"], "skipped");
    assert_eq!(answer["checks"][0]["reason"], "asked on a trial only");
    let text = tree.abide(&["check"]).ok().stdout;
    assert!(text.contains("operator  skip") && text.contains("asked on a trial only"), "{text}");
}

#[test]
fn a_confirmation_is_awaited_on_a_trial_until_it_is_committed() {
    let tree = on_trial();
    booted(&tree, &[]);
    configure(&tree, "[[check]]\nname = 'operator'\nkind = 'confirm'\n");
    let run = tree.abide(&["check"]).fails(1);
    assert!(run.stdout.contains("waiting for `abide confirm`"), "{}", run.stdout);
    tree.abide(&["commit", "--now"]).ok();
    tree.abide(&["check"]).ok();
}

#[test]
fn a_terminal_shows_each_check_when_it_ends() {
    let tree = Tree::running("1.0");
    program(&tree, "usr/bin/quick", "exit 0");
    program(&tree, "usr/bin/slow", "sleep 0.5");
    configure(&tree, &(command("slow", "") + &command("quick", "")));
    let command = tree.command();
    let line = format!("'{}' --root '{}' check", command.get_program().display(), tree.path("").display());
    let run = Run::of(abide_testing::program("script").args(["-qec", &line, "/dev/null"])).ok();
    let (quick, slow) = (run.stdout.find("quick  \x1b[32mpass"), run.stdout.find("slow   \x1b[32mpass"));
    assert!(quick.is_some() && quick < slow, "{:?}", run.stdout);
    let waiting = run.stdout.find("running: slow\x1b");
    assert!(quick < waiting && waiting < slow, "{:?}", run.stdout);
}

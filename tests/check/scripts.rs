//! greenboot's folders of scripts, and Abide's own of the same shape.

use std::fs;

use abide_testing::Tree;

use crate::{SHORT, booted, configure, on_trial, program};

/// Scripts at once and often.
const QUICK: &str = "[scripts]\ninterval = '100ms'\n";

fn healthy(tree: &Tree, text: &str) {
    booted(tree, &[]);
    configure(tree, &format!("{SHORT}{QUICK}{text}"));
}

#[test]
fn scripts_run_in_the_order_of_their_names_and_never_side_by_side() {
    let tree = Tree::running("1.0");
    healthy(&tree, "");
    let log = tree.path("log");
    for (folder, name) in [
        ("etc/greenboot/check/required.d", "20_b.sh"),
        ("usr/lib/greenboot/check/required.d", "10_a.sh"),
        ("etc/abide/check/required.d", "30_c.sh"),
        ("usr/lib/abide/check/wanted.d", "00_d.sh"),
    ] {
        let script =
            format!("echo begin {name} >> '{0}'; sleep 0.1; echo end {name} >> '{0}'", log.display());
        program(&tree, &format!("{folder}/{name}"), &script);
    }
    tree.abide(&["check"]).ok();
    let expected: String = ["10_a.sh", "20_b.sh", "30_c.sh", "00_d.sh"]
        .iter()
        .map(|name| format!("begin {name}\nend {name}\n"))
        .collect();
    assert_eq!(fs::read_to_string(log).unwrap(), expected);
}

#[test]
fn a_required_script_that_fails_is_unhealthy_and_a_wanted_one_is_not() {
    let tree = Tree::running("1.0");
    healthy(&tree, "");
    program(&tree, "etc/greenboot/check/wanted.d/platform.sh", "echo nobody there; exit 1");
    let answer = tree.abide(&["check", "--json"]).ok().json();
    assert_eq!(answer["checks"][1]["name"], "wanted.d/platform.sh");
    assert_eq!(answer["checks"][1]["result"], "fail");
    program(&tree, "etc/greenboot/check/required.d/dns.sh", "echo no name server; exit 1");
    let run = tree.abide(&["check"]).fails(1);
    assert!(run.stdout.contains("no name server"), "{}", run.stdout);
    assert!(run.stderr.contains("required.d/dns.sh failed"), "{}", run.stderr);
}

#[test]
fn a_script_that_greenboot_has_disabled_does_not_run() {
    let tree = Tree::running("1.0");
    healthy(&tree, "");
    program(&tree, "usr/lib/greenboot/check/required.d/02_watchdog.sh", "exit 1");
    fs::create_dir_all(tree.path("etc/greenboot")).unwrap();
    fs::write(
        tree.path("etc/greenboot/greenboot.conf"),
        "DISABLED_HEALTHCHECKS=(\n  \"02_watchdog.sh\"\n  \"no_such.sh\"\n)\n",
    )
    .unwrap();
    let run = tree.abide(&["check"]).ok();
    assert!(run.stderr.contains("disables the script no_such.sh"), "{}", run.stderr);
}

#[test]
fn a_script_that_hangs_ends_the_trial_at_its_timeout() {
    let mut tree = on_trial();
    booted(&tree, &[]);
    configure(&tree, &format!("{SHORT}[scripts]\ntimeout = '300ms'\n"));
    program(&tree, "etc/greenboot/check/required.d/stuck.sh", "echo waiting for the pods; sleep 600");
    tree.abide(&["assess"]).fails(1);
    assert_eq!(tree.boot_with_initrd("1.0"), "edge_1.0.efi");
    let failure = &tree.status()["failures"][0];
    assert_eq!(failure["checks"][0]["name"], "required.d/stuck.sh");
    let reason = failure["reason"].as_str().unwrap();
    assert!(reason.contains("did not end within 300ms: waiting for the pods"), "{reason}");
}

#[test]
fn a_script_that_fails_at_first_and_then_passes_does_not_fail_the_trial() {
    let tree = on_trial();
    healthy(&tree, "");
    let runs = tree.path("runs").display().to_string();
    program(
        &tree,
        "usr/lib/greenboot/check/required.d/slow_start.sh",
        &format!("echo x >> '{runs}'; test $(wc -l < '{runs}') -ge 3"),
    );
    tree.abide(&["assess"]).ok();
    assert!(fs::read_to_string(runs).unwrap().lines().count() >= 4, "and once more at the end of the window");
}

#[test]
fn without_the_scripts_of_greenboot_nothing_changes() {
    let tree = Tree::running("1.0");
    healthy(&tree, "enabled = false\n");
    program(&tree, "etc/greenboot/check/required.d/a.sh", "exit 1");
    tree.abide(&["check"]).ok();
}

/// As greenboot's own are: for bash, not executable, with a look at greenboot's configuration, and at
/// an argument that only their tests give.
#[test]
fn scripts_written_for_greenboot_are_run_as_greenboot_runs_them() {
    let tree = Tree::running("1.0");
    healthy(&tree, "");
    let conf = tree.path("etc/greenboot/greenboot.conf");
    let script = format!(
        "#!/bin/bash\nset -eo pipefail\nif test -f '{conf}'; then source '{conf}'; fi\n\
         if [ \"${{1}}\" = --source-only ]; then exit 3; fi\n\
         if [ \"${{WATCHDOG_CHECK,,}}\" != true ]; then echo disabled; exit 0; fi\n\
         NAMES=( $(printf 'a\\nb\\n' | sort | uniq) )\n\
         if [[ ${{#NAMES[@]}} -eq 2 ]]; then echo \"no answer from: ${{NAMES[*]}}\"; exit 1; fi\n",
        conf = conf.display()
    );
    let path = tree.path("usr/lib/greenboot/check/required.d/02_watchdog.sh");
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, script).unwrap();
    tree.abide(&["check"]).ok();
    fs::create_dir_all(conf.parent().unwrap()).unwrap();
    fs::write(&conf, "WATCHDOG_CHECK=True\nDISABLED_HEALTHCHECKS=()\n").unwrap();
    let run = tree.abide(&["check"]).fails(1);
    assert!(run.stdout.contains("no answer from: a b"), "{}", run.stdout);
}

//! Text from outside, and everything that shows it.

use std::fs;
use std::os::unix::net::UnixDatagram;

use abide_testing::Tree;
use abide_testing::hostile::{
    HOSTILE, HOSTILE_WORD, assert_json, assert_machine, assert_printable, assert_run,
};
use abide_testing::tree::cmdline;
use abide_testing::uki::uki;

use crate::{SHORT, booted, command, configure, on_trial, program};

/// Every event is kept for a server that is away, and shown by all other means.
const EVENTS: &str = "[report]\nurl = 'http://127.0.0.1:1/'\nmetrics = '/var/lib/abide/abide.prom'\n";

/// The kernel and the loader leave nothing in a name; a UKI has what its builder wrote, and a FAT what anybody wrote.
fn with_hostile_entries(tree: &Tree) {
    let bytes = uki("evil", HOSTILE_WORD, &cmdline("b"));
    fs::write(tree.entry("evil_0.1.efi"), &bytes).unwrap();
    fs::write(tree.entry("evil\u{202e}_0.2.efi"), bytes).unwrap();
}

fn journal(tree: &Tree) -> UnixDatagram {
    fs::create_dir_all(tree.path("run/systemd/journal")).unwrap();
    let socket = UnixDatagram::bind(tree.path("run/systemd/journal/socket")).unwrap();
    socket.set_nonblocking(true).unwrap();
    socket
}

/// The messages, without their binary fields.
fn assert_journal(journal: &UnixDatagram) {
    let mut bytes = vec![0; 1 << 16];
    let mut messages = 0;
    while let Ok(length) = journal.recv(&mut bytes) {
        let entry = String::from_utf8_lossy(&bytes[..length]).into_owned();
        for message in entry.lines().filter(|line| line.starts_with("MESSAGE=")) {
            assert_printable("journal", message, false);
            messages += 1;
        }
    }
    assert!(messages > 0);
}

#[test]
fn the_output_of_a_check_is_shown_without_its_escapes() {
    let mut tree = on_trial();
    booted(&tree, &[]);
    with_hostile_entries(&tree);
    let journal = journal(&tree);
    program(&tree, "usr/bin/a", "cat /dev/fd/3 3<\"$0.out\" ; exit 3");
    fs::write(tree.path("usr/bin/a.out"), HOSTILE).unwrap();
    configure(&tree, &format!("{SHORT}{EVENTS}{}", command("a", "failures_allowed = 0")));
    let checked = tree.abide(&["check"]);
    assert_run("check", &checked);
    assert!(checked.stdout.contains("exited with status 3: abide: forged\n"), "{}", checked.stdout);
    let json = tree.abide(&["check", "--json"]).json();
    assert_json("check", &json);
    assert_eq!(json["checks"][0]["output"], "evil txt \nabide: forged");
    assert_run("assess", &tree.abide(&["-vv", "assess"]).fails(1));
    assert_machine(&tree);
    assert_journal(&journal);
    tree.boot_with_initrd("1.0");
    assert_run("report", &tree.abide(&["-v", "report"]));
    assert_machine(&tree);
    let failure = tree.status()["failures"][0].clone();
    assert!(failure["reason"].as_str().unwrap().contains("abide: forged"), "{failure}");
    assert!(failure["checks"][0]["output"].as_str().unwrap().starts_with("evil"), "{failure}");
}

#[test]
fn the_reason_of_a_denial_is_one_line() {
    let mut tree = on_trial();
    booted(&tree, &[]);
    configure(
        &tree,
        &format!("{SHORT}{EVENTS}[[check]]\nname = 'ask'\nkind = 'confirm'\ninterval = '100ms'\n"),
    );
    tree.abide(&["deny", HOSTILE]).ok();
    assert_run("assess", &tree.abide(&["-vv", "assess"]).fails(1));
    assert_machine(&tree);
    tree.boot_with_initrd("1.0");
    assert_machine(&tree);
    let reason = tree.status()["failures"][0]["reason"].as_str().unwrap().to_owned();
    assert!(reason.contains("denied: evil") && reason.contains("abide: forged"), "{reason}");
}

#[test]
fn the_names_of_failed_units_are_shown_without_their_escapes() {
    let tree = on_trial();
    booted(&tree, &[&format!("{}.service loaded failed failed x", HOSTILE_WORD.replace('\u{7}', "\\007"))]);
    configure(&tree, &format!("[assess]\ntest_window = '300ms'\ndeadline = '2s'\n{EVENTS}"));
    assert_json("check", &tree.abide(&["check", "--json"]).json());
    assert_run("assess", &tree.abide(&["-vv", "assess"]));
    assert_machine(&tree);
}

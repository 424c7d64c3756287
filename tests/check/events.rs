//! Events: journal, message of the day, metrics, reports, scripts.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::os::unix::net::UnixDatagram;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use abide_testing::scripted::answer;
use abide_testing::{Run, Scripted, Tree};
use serde_json::Value;

use crate::{SHORT, booted, command, configure, on_trial, program};

/// A server that answers with these statuses, then always with the last; gives what it was sent.
fn server(statuses: &'static [u16]) -> (String, Receiver<Value>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/events", listener.local_addr().unwrap());
    let (sender, receiver) = channel();
    thread::spawn(move || {
        for (number, stream) in listener.incoming().enumerate() {
            let mut stream = stream.unwrap();
            let mut request = BufReader::new(stream.try_clone().unwrap());
            let (mut line, mut length) = (String::new(), 0);
            while request.read_line(&mut line).unwrap() > 2 {
                if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
                    length = value.trim().parse().unwrap();
                }
                line.clear();
            }
            let mut body = vec![0; length];
            request.read_exact(&mut body).unwrap();
            let status = statuses.get(number).or(statuses.last()).unwrap();
            write!(stream, "HTTP/1.1 {status} X\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").unwrap();
            sender.send(serde_json::from_slice(&body).unwrap()).unwrap();
        }
    });
    (url, receiver)
}

fn waiting(tree: &Tree) -> Vec<String> {
    let Ok(entries) = fs::read_dir(tree.path("var/lib/abide/reports")) else { return vec![] };
    let mut names: Vec<String> = entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// The trial of 2.0 fails, and 1.0 runs again.
fn rolled_back(extra: &str) -> Tree {
    let mut tree = on_trial();
    booted(&tree, &[]);
    configure(&tree, &(SHORT.to_owned() + extra + &command("missing", "")));
    tree.abide(&["assess"]).fails(1);
    tree.boot_with_initrd("1.0");
    booted(&tree, &[]);
    tree
}

const SOON: Duration = Duration::from_secs(20);

#[test]
fn every_change_of_state_is_posted_in_its_order_once_the_server_takes_it() {
    let mut tree = Tree::running("1.0");
    let (url, received) = server(&[503, 503, 204]);
    booted(&tree, &[]);
    program(&tree, "usr/bin/a", "exit 0");
    let text = format!("{SHORT}[report]\nurl = '{url}'\n{}", command("a", ""));
    configure(&tree, &text);
    fs::create_dir_all(tree.path("etc")).unwrap();
    fs::write(tree.path("etc/machine-id"), "0123456789abcdef0123456789abcdef\n").unwrap();
    tree.stage("2.0", "b");
    tree.abide(&["apply"]).ok();
    tree.boot_with_initrd("2.0");
    booted(&tree, &[]);
    tree.abide(&["assess"]).ok();
    tree.abide(&["report"]).fails(1);
    assert_eq!(waiting(&tree).len(), 2, "what was not taken waits");
    tree.abide(&["commit", "--now"]).ok();
    tree.abide(&["report"]).ok();
    assert!(waiting(&tree).is_empty());
    let told: Vec<Value> = (0..5).map(|_| received.recv_timeout(SOON).unwrap()).collect();
    let names: Vec<&str> = told.iter().map(|event| event["event"].as_str().unwrap()).collect();
    assert_eq!(names, ["applied", "testing", "applied", "testing", "committed"], "refused ones come again");
    let committed = &told[4];
    assert_eq!(committed["schema"], 1);
    assert_eq!(committed["version"], "2.0");
    assert_eq!(committed["previous"], "1.0");
    assert_eq!(committed["userStatus"], "UPDATED");
    assert!(!committed.to_string().contains("0123456789abcdef"), "the machine id is nobody's business");
}

#[test]
fn an_event_that_ends_up_at_a_login_page_is_not_delivered() {
    let tree = Tree::running("1.0");
    let login = Scripted::new(|_| answer("200 OK", &["Content-Length: 5"], b"Login"));
    let elsewhere = format!("Location: http://localhost:{}/login?from=h", login.address.port());
    let server = Scripted::new(move |_| answer("302 Found", &[&elsewhere, "Content-Length: 0"], b""));
    booted(&tree, &[]);
    program(&tree, "usr/bin/a", "exit 0");
    let url = server.url("events?key=s3cret").replace("http://", "http://machine:pa55@");
    configure(&tree, &format!("{SHORT}[report]\nurl = '{url}'\n{}", command("a", "")));
    tree.stage("2.0", "b");
    tree.abide(&["apply"]).ok();
    let run = tree.abide(&["report"]).fails(1);
    assert!(run.stderr.contains("redirects to http://localhost"), "{}", run.stderr);
    assert!(!run.stderr.contains("s3cret") && !run.stderr.contains("pa55"), "{}", run.stderr);
    assert_eq!(waiting(&tree).len(), 1);
    assert_eq!((server.asked().len(), login.asked().len()), (1, 0));
}

/// A step of `abide-report.service`.
fn step(tree: &Tree, option: &str) -> Run {
    fs::create_dir_all(tree.path("run/abide-report")).unwrap();
    Run::of(tree.command().args(["-v", "report", option]).env("RUNTIME_DIRECTORY", "/run/abide-report"))
}

/// Two events wait for a server.
fn two_events(url: &str) -> Tree {
    let tree = Tree::running("1.0");
    booted(&tree, &[]);
    program(&tree, "usr/bin/a", "exit 0");
    configure(&tree, &format!("{SHORT}[report]\nurl = '{url}'\n{}", command("a", "")));
    tree.stage("2.0", "b");
    tree.abide(&["apply"]).ok();
    tree.abide(&["cancel"]).ok();
    tree.stage("2.0", "b");
    tree.abide(&["apply"]).ok();
    assert!(waiting(&tree).len() >= 2, "{:?}", waiting(&tree));
    tree
}

#[test]
fn the_unit_that_posts_events_needs_neither_root_nor_the_configuration() {
    let (url, received) = server(&[204, 503]);
    let tree = two_events(&url);
    let count = waiting(&tree).len();
    step(&tree, "--hand-over").ok();
    fs::remove_dir_all(tree.path("etc/abide")).unwrap();
    fs::rename(tree.path("var"), tree.path("var.away")).unwrap();
    step(&tree, "--deliver").fails(1);
    fs::rename(tree.path("var.away"), tree.path("var")).unwrap();
    received.recv_timeout(SOON).unwrap();
    assert_eq!(waiting(&tree).len(), count, "the outbox is root's");
    step(&tree, "--take-back").ok();
    assert_eq!(waiting(&tree).len(), count - 1, "what was delivered is removed");
}

#[test]
fn a_unit_that_lies_about_deliveries_can_only_drop_events() {
    let tree = two_events("http://127.0.0.1:1/");
    let events = waiting(&tree);
    step(&tree, "--hand-over").ok();
    let dir = tree.path("run/abide-report");
    let name = events[0].replace(".json", ".delivered");
    std::os::unix::fs::symlink("../../etc/abide/abide.toml", dir.join(&name)).unwrap();
    std::os::unix::fs::symlink("../../etc/abide/abide.toml", dir.join("..delivered")).unwrap();
    fs::write(dir.join("abide.toml.delivered"), "").unwrap();
    step(&tree, "--take-back").ok();
    assert_eq!(waiting(&tree), events[1..]);
    assert!(tree.path("etc/abide/abide.toml").exists());
}

#[test]
fn an_event_that_cannot_be_read_holds_up_no_other_and_starts_no_circle() {
    let (url, received) = server(&[204]);
    let tree = two_events(&url);
    let count = waiting(&tree).len();
    fs::create_dir(tree.path("var/lib/abide/reports/000000000000-applied.json")).unwrap();
    step(&tree, "--hand-over").ok();
    step(&tree, "--deliver").ok();
    let run = step(&tree, "--take-back").ok();
    assert_eq!(received.try_iter().count(), count);
    assert_eq!(waiting(&tree), ["000000000000-applied.json"]);
    assert!(!run.stderr.contains("again"), "{}", run.stderr);
}

#[test]
fn an_invalid_configuration_ends_the_delivery_for_good() {
    let tree = two_events("http://127.0.0.1:1/");
    configure(&tree, "[report]\nurk = 1\n");
    // A failed first step would be repeated for ever.
    step(&tree, "--hand-over").ok();
    let run = step(&tree, "--deliver").fails(2);
    assert!(run.stderr.contains("urk"), "{}", run.stderr);
    // Started again at once, it would go round for ever.
    let run = step(&tree, "--take-back").ok();
    assert!(!run.stderr.contains("again"), "{}", run.stderr);
    assert!(!waiting(&tree).is_empty());
}

#[test]
fn a_server_that_is_not_there_keeps_nothing_from_being_decided() {
    let mut tree = on_trial();
    booted(&tree, &[]);
    configure(
        &tree,
        &format!("{SHORT}[report]\nurl = 'http://127.0.0.1:1/'\nmetrics = '/proc/none/abide.prom'\n"),
    );
    tree.abide(&["assess"]).ok();
    tree.abide(&["commit", "--now"]).ok();
    assert_eq!(tree.entries(), ["edge_1.0.efi", "edge_2.0.efi"]);
    tree.boot_with_initrd("2.0");
    tree.abide(&["report"]).fails(1);
    assert_eq!(waiting(&tree), ["000000000001-testing.json", "000000000002-committed.json"]);
    configure(&tree, SHORT);
    tree.abide(&["report"]).ok();
    assert!(waiting(&tree).is_empty(), "nobody is to be told any more");
}

#[test]
fn a_rollback_is_told_to_those_who_log_in() {
    let tree = rolled_back("");
    tree.abide(&["report"]).ok();
    assert_eq!(
        fs::read_to_string(tree.path("run/motd.d/abide")).unwrap(),
        "Abide: rolled back from 2.0 to 1.0: check 'missing' failed: cannot run /usr/bin/missing: \
         No such file or directory (os error 2).\n`abide status` shows what to do.\n"
    );
}

#[test]
fn a_trial_is_told_to_those_who_log_in_until_it_is_committed() {
    let tree = on_trial();
    booted(&tree, &[]);
    configure(&tree, SHORT);
    tree.abide(&["assess"]).ok();
    let text = fs::read_to_string(tree.path("run/motd.d/abide")).unwrap();
    assert!(text.starts_with("Abide: 2.0 is on trial, try 1 of 3.\n"), "{text}");
    tree.abide(&["commit", "--now"]).ok();
    assert!(!tree.path("run/motd.d/abide").exists());
}

#[test]
fn the_journal_gets_an_entry_with_an_id_and_fields() {
    let tree = on_trial();
    booted(&tree, &[]);
    fs::create_dir_all(tree.path("run/systemd/journal")).unwrap();
    let journal = UnixDatagram::bind(tree.path("run/systemd/journal/socket")).unwrap();
    journal.set_read_timeout(Some(SOON)).unwrap();
    configure(&tree, &(SHORT.to_owned() + &command("missing", "")));
    tree.abide(&["assess"]).fails(1);
    let mut entries = vec![];
    while entries.len() < 3 {
        let mut bytes = vec![0; 1 << 16];
        let length = journal.recv(&mut bytes).unwrap();
        entries.push(String::from_utf8(bytes[..length].to_vec()).unwrap());
    }
    assert!(entries[0].contains("\nABIDE_EVENT=testing\n"), "{entries:#?}");
    assert!(entries[1].contains("MESSAGE_ID=22fe5470ddb14566bdb84d76978c6c18\n"), "{entries:#?}");
    assert!(entries[1].contains("\nABIDE_CHECK=missing\n"), "{entries:#?}");
    assert!(entries[2].contains("MESSAGE_ID=484ceb0495514f5a905caa8aff16a17e\n"), "{entries:#?}");
    assert!(entries[2].contains("\nABIDE_VERSION=2.0\n"), "{entries:#?}");
}

#[test]
fn metrics_are_there_for_the_textfile_collector() {
    let tree = rolled_back("[report]\nmetrics = '/var/lib/node_exporter/abide.prom'\n");
    tree.abide(&["report"]).ok();
    let text = fs::read_to_string(tree.path("var/lib/node_exporter/abide.prom")).unwrap();
    for line in [
        "abide_boot{kind=\"fallback\"} 1",
        "abide_boot{kind=\"committed\"} 0",
        "abide_slot{slot=\"a\",state=\"active\",version=\"1.0\"} 1",
        "abide_fallback_available 0",
        "abide_update{version=\"2.0\",status=\"FAILED\",substatus=\"NONE\"} 1",
        "abide_failed_images 1",
    ] {
        assert!(text.lines().any(|known| known == line), "{line}\n{text}");
    }
}

#[test]
fn scripts_are_told_of_a_commit() {
    let tree = on_trial();
    configure(&tree, SHORT);
    let log = tree.path("log").display().to_string();
    program(&tree, "etc/greenboot/green.d/a.sh", &format!("echo green $ABIDE_VERSION >> '{log}'; exit 1"));
    program(&tree, "usr/lib/abide/committed.d/b", &format!("echo $ABIDE_EVENT >> '{log}'"));
    program(&tree, "etc/greenboot/red.d/c.sh", &format!("echo red >> '{log}'"));
    tree.abide(&["commit", "--now"]).ok();
    assert_eq!(fs::read_to_string(&log).unwrap(), "green 2.0\ncommitted\n");
    tree.abide(&["commit", "--now"]).ok();
    tree.abide(&["report"]).ok();
    assert_eq!(fs::read_to_string(&log).unwrap(), "green 2.0\ncommitted\n", "once");
}

#[test]
fn scripts_of_a_commit_that_was_cut_off_run_after_the_next_boot() {
    let mut tree = on_trial();
    configure(&tree, SHORT);
    let log = tree.path("log").display().to_string();
    tree.abide(&["commit", "--now"]).ok();
    program(&tree, "usr/lib/abide/committed.d/b", &format!("echo $ABIDE_EVENT >> '{log}'"));
    // The power failed right after the rename.
    fs::create_dir_all(tree.path("var/lib/abide")).unwrap();
    fs::write(tree.path("var/lib/abide/commit-hooks"), "2.0").unwrap();
    tree.boot_with_initrd("2.0");
    tree.abide(&["report"]).ok();
    tree.abide(&["report"]).ok();
    assert_eq!(fs::read_to_string(&log).unwrap(), "committed\n");
}

#[test]
fn scripts_for_a_commit_do_not_run_if_it_never_happened() {
    let mut tree = rolled_back("");
    program(&tree, "usr/lib/abide/committed.d/b", "touch \"$0.was-run\"");
    fs::create_dir_all(tree.path("var/lib/abide")).unwrap();
    fs::write(tree.path("var/lib/abide/commit-hooks"), "2.0").unwrap();
    tree.boot_with_initrd("1.0");
    tree.abide(&["report"]).ok();
    assert!(!tree.path("usr/lib/abide/committed.d/b.was-run").exists());
    assert!(!tree.path("var/lib/abide/commit-hooks").exists());
}

#[test]
fn scripts_get_the_failure_before_the_reboot_and_the_rollback_after_it() {
    let mut tree = on_trial();
    booted(&tree, &[]);
    configure(&tree, &(SHORT.to_owned() + &command("missing", "")));
    let log = tree.path("log").display().to_string();
    for folder in ["etc/greenboot/red.d", "etc/abide/failed.d", "etc/abide/rolled-back.d"] {
        program(&tree, &format!("{folder}/x.sh"), &format!("echo {folder} $ABIDE_CHECK >> '{log}'"));
    }
    tree.abide(&["assess"]).fails(1);
    tree.abide(&["assess", "--failed"]).ok();
    let before = "etc/greenboot/red.d missing\netc/abide/failed.d missing\n";
    assert_eq!(fs::read_to_string(&log).unwrap(), before, "once, though the trial was ended twice");
    tree.boot_with_initrd("1.0");
    tree.abide(&["report"]).ok();
    tree.abide(&["report"]).ok();
    assert_eq!(fs::read_to_string(&log).unwrap(), format!("{before}etc/abide/rolled-back.d missing\n"));
}

#[test]
fn a_script_that_hangs_does_not_keep_a_failed_trial_from_being_left() {
    let mut tree = on_trial();
    booted(&tree, &[]);
    configure(&tree, &(SHORT.to_owned() + "[scripts]\ntimeout = '200ms'\n" + &command("missing", "")));
    program(&tree, "etc/greenboot/red.d/x.sh", "sleep 600");
    tree.abide(&["assess"]).fails(1);
    assert!(tree.path("run/abide/reboot-requested").exists());
    assert_eq!(tree.boot_with_initrd("1.0"), "edge_1.0.efi");
}

//! Each kind of check passes, fails, recovers, and does not hold the others up when it hangs.

use std::fs;
use std::net::TcpListener;

use abide_testing::{Answer, HttpsServer, Tree, serve};
use serde_json::Value;

use crate::{configure, program};

/// A kind, and what makes it pass and fail on a machine that is a folder.
struct Case {
    keys: &'static str,
    well: fn(&Tree),
    ill: fn(&Tree),
    /// What is said of the ill machine.
    reason: &'static str,
    /// A file that makes the check hang if reading it never ends.
    hangs_on: Option<&'static str>,
}

fn write(tree: &Tree, path: &str, text: &str) {
    let path = tree.path(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

fn remove(tree: &Tree, path: &str) {
    fs::remove_file(tree.path(path)).unwrap_or_default();
}

fn unit(tree: &Tree, state: &str) {
    let text = format!("LoadState=loaded\\nActiveState={state}\\nSubState=x\\nInvocationID=1\\n");
    program(tree, "usr/bin/systemctl", &format!("printf '{text}'"));
}

fn link(tree: &Tree, carrier: &str) {
    write(tree, "sys/class/net/eth0/flags", "0x1003\n");
    write(tree, "sys/class/net/eth0/carrier", &format!("{carrier}\n"));
    write(tree, "sys/class/net/eth0/ifindex", "2\n");
    write(tree, "proc/net/if_inet6", "20010db8000000000000000000000001 02 40 00 80 eth0\n");
}

/// A mount point of the process that looks.
fn mounted(tree: &Tree, options: &str) {
    fs::create_dir_all(tree.path("proc")).unwrap();
    std::os::unix::fs::symlink("17", tree.path("proc/self")).unwrap_or_default();
    write(tree, "proc/17/mountinfo", &format!("36 35 8:2 / /data rw - ext4 /dev/sda2 {options}\n"));
}

/// This very process under another number, in another state.
fn process(tree: &Tree, state: &str) {
    let stat = fs::read_to_string("/proc/self/stat").unwrap();
    let rest = stat.rsplit_once(") ").unwrap().1.split_once(' ').unwrap().1;
    write(tree, "proc/17/stat", &format!("17 (app) {state} {rest}"));
    write(tree, "run/app.pid", "17\n");
}

const CASES: [Case; 10] = [
    Case {
        keys: "kind = 'mount'\npath = '/data'\ntype = 'ext4'\nwritable = true",
        well: |tree| mounted(tree, "rw"),
        ill: |tree| mounted(tree, "ro"),
        reason: "/data is read-only",
        hangs_on: Some("proc/17/mountinfo"),
    },
    Case {
        keys: "kind = 'process'\npidfile = '/run/app.pid'",
        well: |tree| process(tree, "S"),
        ill: |tree| process(tree, "Z"),
        reason: "17 of /run/app.pid is not running",
        hangs_on: Some("proc/17/stat"),
    },
    Case {
        keys: "kind = 'system'",
        well: |tree| crate::booted(tree, &[]),
        ill: |tree| crate::booted(tree, &["app.service loaded failed failed App"]),
        reason: "failed: app.service",
        hangs_on: None,
    },
    Case {
        keys: "kind = 'unit'\nunits = 'app.service'",
        well: |tree| unit(tree, "active"),
        ill: |tree| unit(tree, "activating"),
        reason: "app.service",
        hangs_on: None,
    },
    Case {
        keys: "kind = 'network'\nfamily = 'ipv6'\ndefault_route = false",
        well: |tree| link(tree, "1"),
        ill: |tree| link(tree, "0"),
        reason: "eth0",
        hangs_on: Some("proc/net/if_inet6"),
    },
    Case {
        keys: "kind = 'command'\ncommand = ['/usr/bin/probe']",
        well: |tree| program(tree, "usr/bin/probe", "exit 0"),
        ill: |tree| program(tree, "usr/bin/probe", "echo no; exit 1"),
        reason: "exited with status 1: no",
        hangs_on: None,
    },
    Case {
        keys: "kind = 'file'\npath = '/state'\ncontains = 'ready'",
        well: |tree| write(tree, "state", "ready\n"),
        ill: |tree| write(tree, "state", "busy\n"),
        reason: "/state does not contain 'ready'",
        hangs_on: Some("state"),
    },
    Case {
        keys: "kind = 'kernel'\nlog = false",
        well: |tree| write(tree, "proc/sys/kernel/tainted", "0\n"),
        ill: |tree| write(tree, "proc/sys/kernel/tainted", "128\n"),
        reason: "it has crashed",
        hangs_on: Some("proc/sys/kernel/tainted"),
    },
    Case {
        keys: "kind = 'clock'",
        well: |tree| write(tree, "run/systemd/timesync/synchronized", ""),
        ill: |tree| remove(tree, "run/systemd/timesync/synchronized"),
        reason: "not synchronised",
        hangs_on: None,
    },
    Case {
        keys: "kind = 'disk'\npath = '/space'",
        well: |tree| fs::create_dir_all(tree.path("space")).unwrap(),
        ill: |tree| fs::remove_dir(tree.path("space")).unwrap(),
        reason: "/space",
        hangs_on: None,
    },
];

fn check(tree: &Tree) -> Value {
    let run = tree.abide(&["check", "--json"]);
    run.json()["checks"][0].clone()
}

/// `timeout`: long if a result is expected, for a busy machine; short if none is expected.
fn configured(keys: &str, timeout: &str) -> Tree {
    let tree = Tree::running("1.0");
    configure(&tree, &format!("[[check]]\nname = 'x'\ntimeout = '{timeout}'\n{keys}\n"));
    tree
}

#[test]
fn every_kind_passes_fails_and_recovers() {
    for Case { keys, well, ill, reason, .. } in &CASES {
        let tree = configured(keys, "6s");
        for _ in 0..2 {
            well(&tree);
            let found = check(&tree);
            assert_eq!(found["result"], "pass", "{keys}: {found}");
            ill(&tree);
            let found = check(&tree);
            assert_eq!(found["result"], "fail", "{keys}: {found}");
            assert!(found["reason"].as_str().unwrap().contains(reason), "{keys}: {found}");
        }
    }
}

#[test]
fn a_kind_that_hangs_is_given_up_at_its_timeout() {
    for case in &CASES {
        let tree = configured(case.keys, "500ms");
        (case.well)(&tree);
        match case.hangs_on {
            // Nobody ever writes to it.
            Some(file) => {
                remove(&tree, file);
                assert!(abide_testing::program("mkfifo").arg(tree.path(file)).status().unwrap().success());
            }
            None if case.keys.contains("unit") || case.keys.contains("system") => {
                program(&tree, "usr/bin/systemctl", "sleep 600");
            }
            None if case.keys.contains("command") => program(&tree, "usr/bin/probe", "sleep 600"),
            // Nothing that it does can take long.
            None => continue,
        }
        let found = check(&tree);
        assert_eq!(found["result"], "fail", "{}: {found}", case.keys);
        let reason = found["reason"].as_str().unwrap();
        assert!(
            ["no answer", "did not answer", "did not end", "is not a regular file"]
                .iter()
                .any(|said| reason.contains(said)),
            "{found}"
        );
        assert!(found["seconds"].as_f64().unwrap() < 20.0, "{found}");
    }
}

#[test]
fn a_server_that_recovers_passes_and_one_that_never_answers_is_given_up() {
    let ask =
        |url: &str, timeout: &str| check(&configured(&format!("kind = 'http'\nurl = '{url}'"), timeout));
    for busy in [429, 503] {
        let found = ask(&serve(Answer::Status(busy)), "20s");
        let said = format!("server not ready (status {busy})");
        assert!(found["reason"].as_str().unwrap().contains(&said), "{found}");
    }
    assert_eq!(ask(&serve(Answer::Whole(b"ok".to_vec())), "20s")["result"], "pass");
    // It listens, and never takes the connection.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let found = ask(&format!("http://{}/", silent.local_addr().unwrap()), "500ms");
    assert_eq!(found["result"], "fail");
    assert!(found["seconds"].as_f64().unwrap() < 20.0, "{found}");
}

#[test]
fn a_server_is_trusted_by_the_given_certificate_only() {
    let server = HttpsServer::new(&[("healthz", b"ready\n")]);
    let ask = |keys: &str| {
        let url = server.url("healthz");
        let tree = configured(&format!("kind = 'http'\nurl = '{url}'\nmatches = 'ready'\n{keys}"), "20s");
        fs::create_dir_all(tree.path("etc/ssl")).unwrap();
        fs::copy(server.ca(), tree.path("etc/ssl/own.pem")).unwrap();
        check(&tree)
    };
    let found = ask("ca = '/etc/ssl/own.pem'");
    assert_eq!(found["result"], "pass", "{found}");
    let found = ask("");
    assert_eq!(found["result"], "fail", "{found}");
    assert!(found["reason"].as_str().unwrap().contains("certificate"), "{found}");
    assert_eq!(ask("ca = '/etc/ssl/none.pem'")["result"], "fail");
}

#[test]
fn a_process_is_found_and_missed() {
    let tree = configured("kind = 'process'\npidfile = '/run/app.pid'", "20s");
    assert_eq!(check(&tree)["result"], "fail");
    write(&tree, "run/app.pid", "17\n");
    let found = check(&tree);
    assert_eq!(found["result"], "fail", "{found}");
    remove(&tree, "run/app.pid");
    assert!(abide_testing::program("mkfifo").arg(tree.path("run/app.pid")).status().unwrap().success());
    let found = check(&tree);
    assert!(found["reason"].as_str().unwrap().contains("is not a regular file"), "{found}");
}

#[test]
fn an_answer_is_waited_for_and_the_last_word_counts() {
    let tree = crate::on_trial();
    configure(&tree, "[[check]]\nname = 'x'\nkind = 'confirm'\n");
    assert_eq!(check(&tree)["result"], "fail");
    tree.abide(&["confirm"]).ok();
    assert_eq!(check(&tree)["result"], "pass");
    tree.abide(&["deny", "no light"]).ok();
    assert_eq!(check(&tree)["reason"], "denied: no light");
}

//! greenboot's stock scripts, as they are published. They look at `/etc` and at the programs of the machine,
//! so they run in a mount namespace of their own, which takes root.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use abide_testing::process::{self, downloader, executable};
use abide_testing::skip::skipped;
use abide_testing::{Run, Tree};

use crate::{SHORT, booted, configure, program};

/// The package of crates.io (Apache-2.0) that has the scripts in it.
const PACKAGE: &str = "greenboot";
const VERSION: &str = "0.0.1";

/// `usr/lib/greenboot` as published, if the registry can be reached or was reached before.
fn published() -> Option<PathBuf> {
    let elsewhere = tempfile::tempdir().unwrap();
    let package = format!("{PACKAGE}@{VERSION}");
    // Prints the metadata of the package, for which it downloads it.
    downloader(env!("CARGO")).args(["info", &package]).current_dir(&elsewhere).output().ok()?;
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cargo")))?;
    let registries = fs::read_dir(home.join("registry/src")).ok()?;
    registries
        .map(|registry| registry.unwrap().path().join(format!("{PACKAGE}-{VERSION}/usr/lib/greenboot")))
        .find(|folder| folder.is_dir())
}

/// A healthy machine with greenboot's scripts, and its own `/etc` and programs.
struct Machine {
    tree: Tree,
    etc: PathBuf,
}

impl Machine {
    fn with(scripts: &Path) -> Self {
        let tree = Tree::running("1.0");
        booted(&tree, &[]);
        configure(&tree, SHORT);
        let (etc, folder) = (tree.path("host/etc"), tree.path("usr/lib"));
        fs::create_dir_all(&etc).unwrap();
        fs::create_dir_all(&folder).unwrap();
        copy(scripts, &folder);
        let machine = Self { tree, etc };
        machine.bypass_alternatives("awk");
        machine.put("hosts", "127.0.0.1 localhost\n");
        machine.put("nsswitch.conf", "hosts: files\n");
        machine
    }

    /// The remotes that this machine gets its packages from.
    fn remotes(&self, url: &str) {
        self.put("ostree/remotes.d/edge.conf", &format!("[remote \"edge\"]\nurl={url}\n"));
    }

    fn put(&self, path: &str, text: &str) {
        let path = self.etc.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// On Debian the program's name leads through `/etc/alternatives`, which the machine does not have.
    fn bypass_alternatives(&self, name: &str) {
        let found = std::env::split_paths(&search_path()).find_map(|dir| dir.join(name).canonicalize().ok());
        let found = found.unwrap_or_else(|| panic!("no {name} in PATH"));
        fs::create_dir_all(self.programs()).unwrap();
        symlink(found, self.programs().join(name)).unwrap();
    }

    /// `abide check`, with the machine's own `/etc` and its programs before all others.
    fn check(&self) -> serde_json::Value {
        let mut command = process::program("unshare");
        command.args(["--mount", "--propagation", "private", "sh", "-c"]);
        command.arg("mount --bind \"$0\" /etc && exec \"$@\"").arg(&self.etc);
        command.arg(executable()).arg("--root").arg(self.tree.dir.path());
        let path = std::env::split_paths(&search_path()).collect::<Vec<_>>();
        let path = std::env::join_paths([self.programs()].into_iter().chain(path)).unwrap();
        Run::of(command.args(["check", "--json"]).env("PATH", path)).json()
    }

    fn programs(&self) -> PathBuf {
        self.tree.path("host/bin")
    }
}

fn search_path() -> OsString {
    std::env::var_os("PATH").unwrap_or_default()
}

/// Copies a folder, with its name and its links, into another one.
fn copy(from: &Path, to: &Path) {
    assert!(process::program("cp").arg("-a").arg(from).arg(to).status().unwrap().success());
}

/// How the script `name` ended: `pass` or `fail`, and what it said.
fn result(answer: &serde_json::Value, name: &str) -> (String, String) {
    let checks = answer["checks"].as_array().unwrap();
    let check = checks.iter().find(|check| check["name"] == name);
    let check = check.unwrap_or_else(|| panic!("no {name}: {answer:#}"));
    let text = |key: &str| check[key].as_str().unwrap_or_default().to_owned();
    (text("result"), text("reason"))
}

#[test]
fn the_stock_scripts_of_greenboot_run_as_they_are() {
    const DNS: &str = "required.d/01_repository_dns_check.sh";
    const WATCHDOG: &str = "required.d/02_watchdog.sh";
    const PLATFORMS: &str = "wanted.d/01_update_platforms_check.sh";
    let test = "the_stock_scripts_of_greenboot_run_as_they_are";
    if !process::program("unshare").args(["--mount", "true"]).status().is_ok_and(|status| status.success()) {
        return skipped(test, "needs root, to make a mount namespace");
    }
    let Some(scripts) = published() else {
        return skipped(test, "the package that holds them cannot be downloaded");
    };
    let machine = Machine::with(&scripts);

    // No remotes at all: greenboot's own answer to that is to fail.
    let answer = machine.check();
    let (ended, reason) = result(&answer, DNS);
    assert_eq!(ended, "fail", "{answer:#}");
    assert!(reason.contains("/etc/ostree/remotes.d doesn't exist"), "{reason}");
    assert_eq!(result(&answer, WATCHDOG).0, "pass", "{answer:#}");

    machine.remotes("http://no-such-host.invalid/repo");
    let (ended, reason) = result(&machine.check(), DNS);
    assert_eq!(ended, "fail");
    assert!(reason.contains("no-such-host.invalid"), "{reason}");

    // A name that resolves, and a port that nobody listens on: the check of the platforms is only a wanted one.
    machine.remotes("http://localhost:1/repo");
    let answer = machine.check();
    assert_eq!(result(&answer, DNS).0, "pass", "{answer:#}");
    assert_eq!(result(&answer, PLATFORMS).0, "fail", "{answer:#}");
    assert_eq!(answer["healthy"], true, "{answer:#}");

    // A watchdog that has just fired, soon after an update.
    machine.put("greenboot/greenboot.conf", "GREENBOOT_WATCHDOG_CHECK_ENABLED=true\n");
    program(&machine.tree, "host/bin/wdctl", "echo 'CARDRESET 1'");
    program(&machine.tree, "host/bin/rpm-ostree", "date +%s");
    program(&machine.tree, "host/bin/jq", "cat");
    let answer = machine.check();
    let (ended, reason) = result(&answer, WATCHDOG);
    assert_eq!(ended, "fail", "{answer:#}");
    assert!(reason.contains("Watchdog triggered after recent update"), "{reason}");
    assert_eq!(answer["healthy"], false, "{answer:#}");

    // The update was long ago.
    program(&machine.tree, "host/bin/rpm-ostree", "echo 0");
    assert_eq!(result(&machine.check(), WATCHDOG).0, "pass");
}

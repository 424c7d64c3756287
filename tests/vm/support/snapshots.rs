//! Machines that tests start from, each made once and saved.

use abide_qemu::{Machine, Snapshot};

use super::edge::{Edge, image_path, installed, modified, saved};

/// The version that is installed, runs, and must not be lost.
pub const OLD: &str = "2.0";

/// The version that most tests try.
pub const NEW: &str = "3.0";

/// Waits, in a trial, until its checks have begun.
pub const CHECKS_BEGAN: &str =
    "until grep -qE '\"result\":\"(pass|fail)\"' /run/abide/checks.json; do sleep 0.2; done";

/// [`OLD`] runs, and a healthy [`NEW`] has been written into the other slot.
pub fn staged() -> Snapshot {
    let old = installed(OLD);
    let key = modified(&image_path(NEW, "ok", "zst"));
    saved(&format!("staged-{NEW}"), &key, || {
        let mut edge = Edge::on(Machine::from_snapshot("staged", &old).unwrap());
        edge.write(NEW, "ok");
        edge.vm
    })
}

/// Leaves a story the time to begin on a busy host.
const WINDOW: &str = "[assess]\ntest_window = \"30s\"\n";

/// A healthy [`NEW`] runs on its first try, and its checks have begun.
pub fn trial() -> Snapshot {
    let staged = staged();
    let key = format!("{} {WINDOW}", modified(&image_path(NEW, "ok", "zst")));
    saved(&format!("trial-{NEW}"), &key, || {
        let mut edge = Edge::on(Machine::from_snapshot("trial", &staged).unwrap());
        edge.configure(WINDOW);
        edge.ok("abide apply");
        assert_eq!(edge.reboot().version, NEW);
        edge.ok(CHECKS_BEGAN);
        edge.vm
    })
}

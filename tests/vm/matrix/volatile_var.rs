//! A machine that has all of `/var` in memory: what Abide has to know after a reboot is on the ESP.

use crate::support::edge::Edge;
use crate::support::feed::Feed;
use crate::support::snapshots::{NEW, OLD};

use super::stories::commits;

/// By systemd's own switch, and without what the image mounts below `/var`.
const VOLATILE: &str = "io.systemd.stub.kernel-cmdline-extra=fstab=no systemd.volatile=state";

/// The version that fails, and what is wrong with it.
const BAD: &str = "2.5";
const WRONG: &str = "failing-unit";

/// An update fails, and is refused after the rollback; the next one comes from a feed, by the machine's own units,
/// and is committed.
pub fn var_is_volatile(mut edge: Edge) -> Edge {
    edge.ok("umount /var/lib/abide");
    edge.write(BAD, WRONG);
    edge.ok("abide apply");
    edge.forget_boots();
    let mut edge = edge.power_cycle_as(|machine| machine.smbios(VOLATILE));
    edge.next_boot_of(OLD);
    is_volatile(&mut edge);
    assert_eq!(edge.failure(BAD)["phase"], "checks");
    let again = edge.write_command(BAD, WRONG);
    let reason = edge.refused(&again, 6);
    assert!(reason.contains(BAD), "{reason}");

    let feed = Feed::new();
    feed.publish(NEW, "ok");
    feed.known_to(&mut edge, "");
    let found = edge.run("abide doctor --json").text;
    assert!(found.contains("volatile-cache"), "{found}");
    edge.ok("systemctl start abide-update.timer");
    assert_eq!(edge.next_boot().version, NEW);
    is_volatile(&mut edge);
    let mut edge = commits(edge);

    assert_eq!(edge.failure(BAD)["phase"], "checks");
    is_told(&mut edge);
    edge.ok(&format!("abide forget {BAD}"));
    is_told(&mut edge);
    edge
}

fn is_volatile(edge: &mut Edge) {
    assert_eq!(edge.ok("until mountpoint -q /var; do sleep 0.2; done; stat -f -c %T /var").trim(), "tmpfs");
    edge.ok("! mountpoint -q /var/lib/abide");
}

/// The history tells of the failed update, with the try that it had and the reason.
fn is_told(edge: &mut Edge) {
    let told = edge.ok("abide history");
    let is_whole = told.contains(BAD) && told.contains("rolled back: check 'app'") && told.contains("try 1");
    assert!(is_whole, "{told}");
}

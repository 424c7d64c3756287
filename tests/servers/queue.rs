//! Machines that share a reboot lock.

use std::path::Path;

use abide_testing::fleetlock::{Airlock, LockServer, Plain};
use abide_testing::hawkbit::repository;
use abide_testing::skip::skipped;
use abide_testing::{Folder, Image, Tree, tree};

use crate::Node;

/// A feed that three machines follow.
struct Feed {
    dir: tempfile::TempDir,
    server: Folder,
}

impl Feed {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let server = Folder::serve(dir.path());
        Self { dir, server }
    }

    fn publish(&self, version: &str, slot: &str) {
        let image = Image::new(version, slot).zst();
        let name = format!("edge_{version}.raw.zst");
        std::fs::write(self.dir.path().join(&name), &image).unwrap();
        let list = format!("{}  {name}\n", tree::digest(&image));
        std::fs::write(self.dir.path().join("SHA256SUMS"), list).unwrap();
    }

    fn node(&self, name: &str, server: &dyn LockServer, more: &str) -> Node {
        let node = Node { name: name.to_owned(), tree: Tree::running("1.0") };
        node.write(&format!(
            "[update]\nfeed = '{}'\ndownload_spread = 0\n[update.fleetlock]\nurl = '{}'\nid = '{name}'\n{more}\n\
             [trust]\npolicy = 'digest'\n",
            self.server.url,
            server.url()
        ));
        node
    }
}

fn waits(node: &Node) -> String {
    node.tree.status()["feed"]["waiting"].as_str().unwrap_or_default().to_owned()
}

/// Of three machines no two are on trial at the same time. A machine releases the lock after its commit or rollback;
/// one that fails keeps it, and the operator sees which one.
fn three_share_a_lock(server: &dyn LockServer) {
    let feed = Feed::new();
    feed.publish("2.0", "b");
    let [mut one, mut two, three] = ["one", "two", "three"].map(|name| feed.node(name, server, ""));
    assert!(one.settle());
    for other in [&two, &three] {
        assert!(!other.settle());
        assert!(waits(other).starts_with("Waiting for the reboot lock"), "{}", waits(other));
    }
    one.tree.boot_with_initrd("2.0");
    one.run();
    assert_eq!(server.holders(), ["one"], "the lock is kept over the reboot and the trial");
    assert!(!two.settle());
    one.tree.abide(&["commit", "--now"]).ok();
    one.run();
    assert!(server.holders().is_empty(), "the commit releases the lock");
    assert!(two.settle());
    assert_eq!(server.holders(), ["two"]);
    assert!(!three.settle());
    two.tree.boot_with_initrd("2.0");
    two.run();
    two.tree.abide(&["rollback"]).ok();
    assert_eq!(server.holders(), ["two"], "the lock is kept until the previous system runs again");
    two.tree.boot_with_initrd("1.0");
    two.run();
    assert!(server.holders().is_empty(), "the rollback releases the lock");
    // The third machine fails.
    assert!(three.settle());
    feed.publish("3.0", "a");
    assert!(!one.settle());
    assert_eq!(server.holders(), ["three"]);
}

#[test]
fn three_machines_share_a_lock_of_the_protocol() {
    three_share_a_lock(&Plain::serve());
}

#[test]
fn three_machines_share_a_lock_of_airlock() {
    match Airlock::start(&repository(env!("CARGO_MANIFEST_DIR"))) {
        Ok(airlock) => three_share_a_lock(&airlock),
        Err(why) => skipped("a reboot lock of airlock", &why),
    }
}

#[test]
fn an_unreachable_lock_server_delays_the_reboot_for_a_limited_time() {
    let plain = Plain::serve();
    let feed = Feed::new();
    feed.publish("2.0", "b");
    let bold = feed.node("bold", &plain, "patience = '1h'\nif_away = 'reboot'");
    let careful = feed.node("careful", &plain, "patience = '1h'");
    *plain.away.lock().unwrap() = Some(502);
    for node in [&bold, &careful] {
        assert!(!node.settle());
        assert!(waits(node).contains("no reply from the FleetLock server: status 502"), "{}", waits(node));
        long_ago(node);
    }
    assert!(bold.settle());
    assert!(!careful.settle());
    assert!(waits(&careful).contains("no reply from the FleetLock server for 1h"), "{}", waits(&careful));
    *plain.away.lock().unwrap() = None;
    let settled = careful.settle();
    assert!(settled, "{} {:?}", crate::node::said(&careful.run()), plain.holders());
    assert_eq!(plain.holders(), ["careful"]);
}

/// Sets back the time since which the server is unreachable by two hours.
fn long_ago(node: &Node) {
    let path = node.tree.path("var/lib/abide/feed/fleetlock.json");
    let mut state: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    state["away"] = (state["away"].as_i64().unwrap() - 7200).into();
    std::fs::write(path, state.to_string()).unwrap();
}

#[test]
fn a_lock_that_is_no_longer_needed_is_released() {
    let plain = Plain::serve();
    let feed = Feed::new();
    feed.publish("2.0", "b");
    let node = feed.node("early", &plain, "");
    for part in ["--survey", "--fetch", "--install", "--survey", "--fetch"] {
        node.tree.abide(&["update", part]).ok();
    }
    assert_eq!(plain.holders(), ["early"]);
    node.tree.abide(&["update", "--pin"]).ok();
    assert!(!node.settle());
    assert!(plain.holders().is_empty());
    assert!(Path::new(&node.tree.path("efi")).exists());
}

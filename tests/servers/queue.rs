//! Machines that queue for their reboot.

use std::path::Path;

use crate::Node;
use crate::fleetlock::{Airlock, Plain, Queue};
use crate::hawkbit::repository;
use crate::support::skip::skipped;
use crate::support::{Folder, Image, Tree, tree};

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

    fn node(&self, name: &str, queue: &dyn Queue, more: &str) -> Node {
        let node = Node { name: name.to_owned(), tree: Tree::running("1.0") };
        node.write(&format!(
            "[update]\nfeed = '{}'\ndownload_spread = 0\n[update.fleetlock]\nurl = '{}'\nid = '{name}'\n{more}\n",
            self.server.url,
            queue.url()
        ));
        node
    }
}

fn waits(node: &Node) -> String {
    node.tree.status()["feed"]["waiting"].as_str().unwrap_or_default().to_owned()
}

/// Of three machines no two are on trial at once; whoever has committed or gone back lets the next one go;
/// whoever dies keeps the slot, and the operator sees who it is.
fn three_take_turns(queue: &dyn Queue) {
    let feed = Feed::new();
    feed.publish("2.0", "b");
    let [mut one, mut two, three] = ["one", "two", "three"].map(|name| feed.node(name, queue, ""));
    assert!(one.settle());
    for other in [&two, &three] {
        assert!(!other.settle());
        assert!(waits(other).starts_with("Waiting for its turn to reboot"), "{}", waits(other));
    }
    one.tree.boot_with_initrd("2.0");
    one.run();
    assert_eq!(queue.holders(), ["one"], "it is kept over the reboot, and on trial");
    assert!(!two.settle());
    one.tree.abide(&["commit"]).ok();
    one.run();
    assert!(queue.holders().is_empty(), "after the commit it is given back");
    assert!(two.settle());
    assert_eq!(queue.holders(), ["two"]);
    assert!(!three.settle());
    two.tree.boot_with_initrd("2.0");
    two.run();
    two.tree.abide(&["rollback"]).ok();
    assert_eq!(queue.holders(), ["two"], "it is kept until the system from before runs again");
    two.tree.boot_with_initrd("1.0");
    two.run();
    assert!(queue.holders().is_empty(), "after the rollback it is given back");
    // The third one dies on its way.
    assert!(three.settle());
    feed.publish("3.0", "a");
    assert!(!one.settle());
    assert_eq!(queue.holders(), ["three"]);
}

#[test]
fn three_machines_take_turns_by_the_text_of_the_protocol() {
    three_take_turns(&Plain::serve());
}

#[test]
fn three_machines_take_turns_at_a_real_server() {
    match Airlock::start(&repository(env!("CARGO_MANIFEST_DIR"))) {
        Ok(airlock) => three_take_turns(&airlock),
        Err(why) => skipped("machines that take turns at airlock", &why),
    }
}

#[test]
fn a_server_that_is_away_holds_the_reboot_up_for_so_long_and_no_longer() {
    let plain = Plain::serve();
    let feed = Feed::new();
    feed.publish("2.0", "b");
    let bold = feed.node("bold", &plain, "patience = '1h'\nif_away = 'reboot'");
    let careful = feed.node("careful", &plain, "patience = '1h'");
    *plain.away.lock().unwrap() = Some(502);
    for node in [&bold, &careful] {
        assert!(!node.settle());
        assert!(waits(node).contains("no answer: status 502"), "{}", waits(node));
        long_ago(node);
    }
    assert!(bold.settle());
    assert!(!careful.settle());
    assert!(waits(&careful).contains("no turn to reboot for 1h"), "{}", waits(&careful));
    *plain.away.lock().unwrap() = None;
    let settled = careful.settle();
    assert!(settled, "{} {:?}", crate::node::said(&careful.run()), plain.holders());
    assert_eq!(plain.holders(), ["careful"]);
}

/// Makes it two hours ago that the server was first away.
fn long_ago(node: &Node) {
    let path = node.tree.path("var/lib/abide/feed/fleetlock.json");
    let mut queue: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    queue["away"] = (queue["away"].as_i64().unwrap() - 7200).into();
    std::fs::write(path, queue.to_string()).unwrap();
}

#[test]
fn a_turn_that_is_of_no_use_any_more_is_given_back() {
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

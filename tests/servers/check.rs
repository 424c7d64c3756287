//! `update --check`: it asks a server, and tells it nothing. And how often a run asks.

use std::fs;

use abide_testing::Image;
use abide_testing::ddi::{Ddi, Habits, Stand};
use abide_testing::fleetlock::{LockServer, Plain};
use serde_json::json;

use crate::Node;
use crate::node::said;

/// A server that orders 2.0, and its machine, which runs 1.0.
fn machine(more: &str, habits: Habits, stand: Stand) -> (Ddi, Node) {
    let server = Ddi::serve("2.0", Image::new("2.0", "b").zst());
    server.behaves(habits);
    server.set(stand);
    let node = Node::of(&server.url, "n", more);
    (server, node)
}

fn check(node: &Node) -> serde_json::Value {
    node.tree.abide(&["update", "--check", "--json"]).json()
}

fn ledger(node: &Node) -> Option<String> {
    fs::read_to_string(node.tree.path("var/lib/abide/feed/hawkbit.json")).ok()
}

/// What the machine has told the server, of any kind.
fn told(server: &Ddi) -> usize {
    server.count("POST", "") + server.count("PUT", "")
}

#[test]
fn a_check_tells_the_server_nothing_and_leaves_the_order_to_the_agent() {
    let usable = Habits::default;
    let unusable = || Habits { chunks: Some(json!([])), ..Habits::default() };
    for (habits, stand, reason) in [
        (usable(), Stand::Idle, "No hawkBit action assigned"),
        (usable(), Stand::Running, "2.0 is available"),
        (usable(), Stand::Unconfirmed, "hawkBit action 7 waits for its confirmation"),
        (unusable(), Stand::Running, "hawkBit action 7 would be refused: the action has no software module"),
        (unusable(), Stand::Unconfirmed, "hawkBit action 7 waits for its confirmation"),
    ] {
        let (server, node) = machine("", habits, stand);
        for _ in 0..2 {
            let answer = check(&node);
            assert!(answer["reason"].as_str().unwrap().starts_with(reason), "{answer}");
            assert_eq!(told(&server), 0, "{reason}");
            assert_eq!((server.stand(), ledger(&node)), (stand, None), "{reason}");
        }
        node.run();
        assert!(told(&server) > 0, "{reason}: the agent tells the server");
    }
    let (server, node) = machine("", Habits::default(), Stand::Running);
    check(&node);
    assert!(node.settle(), "{}", said(&node.run()));
    assert_eq!(server.stand(), Stand::Running);
}

#[test]
fn a_check_does_not_tell_the_server_how_an_update_has_ended() {
    let (server, mut node) = machine("", Habits::default(), Stand::Running);
    assert!(node.settle());
    node.tree.boot_with_initrd("2.0");
    node.tree.abide(&["commit", "--now"]).ok();
    let (before, known) = (told(&server), ledger(&node));
    assert_eq!(check(&node)["reason"], "2.0 runs and is committed");
    assert_eq!((told(&server), ledger(&node)), (before, known));
    node.run();
    assert_eq!(server.end().unwrap().0, "success");
}

#[test]
fn a_check_changes_nothing_about_the_order_that_is_carried_out() {
    let shut = "[[update.window]]\ndates = [2099-01-01]\nstart = '01:00'\nlength = '2h'\n";
    let (server, node) = machine(shut, Habits::default(), Stand::Running);
    assert!(!node.settle());
    let known = ledger(&node);
    server.set(Stand::Idle);
    assert_eq!(check(&node)["reason"], "No hawkBit action assigned");
    assert_eq!(ledger(&node), known);
    server.set(Stand::Running);
    assert_eq!(check(&node)["version"], "2.0");
    assert_eq!(ledger(&node), known);
    assert_eq!(node.tree.status()["slots"][1]["version"], "2.0");
}

#[test]
fn a_check_releases_no_reboot_lock() {
    let (server, plain) = (Ddi::serve("2.0", Image::new("2.0", "b").zst()), Plain::serve());
    server.set(Stand::Running);
    let lock = format!("[update.fleetlock]\nurl = '{}'\nid = 'n'\n", plain.url());
    let node = Node::of(&server.url, "n", &lock);
    assert!(node.settle(), "{}", said(&node.run()));
    assert_eq!(plain.holders(), ["n"]);
    server.set(Stand::Idle);
    check(&node);
    assert_eq!(plain.holders(), ["n"]);
}

#[test]
fn a_run_polls_the_server_once() {
    let polls = |server: &Ddi| server.count("GET", "/controller/v1/n");
    let gone = Habits { order: Some(404), ..Habits::default() };
    for (habits, stand, more) in [
        (Habits::default(), Stand::Idle, ""),
        (Habits::default(), Stand::Unconfirmed, ""),
        (Habits::default(), Stand::Unconfirmed, "confirm = 'server'"),
        (Habits { chunks: Some(json!([])), ..Habits::default() }, Stand::Unconfirmed, ""),
        (gone, Stand::Running, ""),
    ] {
        let (server, node) = machine(more, habits, stand);
        node.tree.abide(&["update", "--survey"]).ok();
        let run = node.tree.abide(&["update", "--fetch"]);
        assert_eq!(polls(&server), 1, "{stand:?} {more}: {run:?}");
    }
    // What has been confirmed comes with the next poll, which is soon.
    let (server, node) = machine("", Habits::default(), Stand::Unconfirmed);
    let run = node.tree.abide(&["update"]).ok();
    assert_eq!(run.stdout, "hawkBit action 7 is confirmed; hawkBit assigns it with the next poll\n");
    assert_eq!(polls(&server), 1);
    assert!(ledger(&node).unwrap().contains("\"sleep\":30"), "{:?}", ledger(&node));
}

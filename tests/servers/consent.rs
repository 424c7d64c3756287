//! Confirmations, which only newer hawkBit servers request: with a server written from the text of the protocol.

use std::fs;

use abide_testing::Image;
use abide_testing::ddi::{Ddi, Stand};

use crate::Node;
use crate::node::said;

/// No window is open before 2099.
const SHUT: &str = "[[update.window]]\ndates = [2099-01-01]\nstart = '01:00'\nlength = '2h'\n";

/// A server with an image of `version`, and its machine, which runs 1.0.
fn machine(version: &str, more: &str) -> (Ddi, Node) {
    let server = Ddi::serve(version, Image::new(version, "b").zst());
    let node = Node::of(&server.url, "n", more);
    (server, node)
}

#[test]
fn an_action_that_the_policy_takes_is_confirmed_and_installed() {
    let (server, mut node) = machine("2.0", "");
    server.set(Stand::Unconfirmed);
    assert!(node.settle(), "{}", said(&node.run()));
    let told = server.told("confirmationBase/7/feedback");
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(told[0]["confirmation"], "confirmed");
    node.tree.boot_with_initrd("2.0");
    node.tree.abide(&["commit", "--now"]).ok();
    node.run();
    assert_eq!(server.stand(), Stand::Closed);
    let last = server.told("deploymentBase/7/feedback").pop().unwrap();
    assert_eq!(last["status"]["result"]["finished"], "success", "{last}");
}

#[test]
fn a_denied_action_is_confirmed_when_the_policy_changes() {
    let (server, node) = machine("0.9", "");
    let policy = node.tree.path("etc/abide/abide.d/50-site.toml");
    fs::create_dir_all(policy.parent().unwrap()).unwrap();
    fs::write(&policy, "[update]\nfloor = '1.0'\n").unwrap();
    server.set(Stand::Unconfirmed);
    assert!(!node.settle());
    let told = server.told("confirmationBase/7/feedback");
    assert_eq!(told.len(), 1, "the server asks at every poll: {told:?}");
    assert_eq!(told[0]["confirmation"], "denied");
    assert!(told[0]["details"][0].as_str().unwrap().contains("older than the floor"), "{told:?}");
    assert_eq!(server.stand(), Stand::Unconfirmed);
    fs::remove_file(policy).unwrap();
    assert!(node.settle());
    assert_eq!(server.told("confirmationBase/7/feedback").len(), 2);
}

#[test]
fn without_its_confirmation_at_the_server_nothing_is_fetched() {
    let (server, node) = machine("2.0", "confirm = 'server'");
    server.set(Stand::Unconfirmed);
    assert!(!node.settle());
    assert!(server.told("feedback").is_empty());
    assert!(!node.has_fetched("edge_2.0.raw.zst"));
    server.set(Stand::Running);
    assert!(node.settle());
}

#[test]
fn a_forced_action_ignores_windows_only_where_configured() {
    let (server, node) = machine("2.0", SHUT);
    server.set(Stand::Running);
    assert!(!node.settle());
    assert_eq!(node.tree.status()["slots"][1]["version"], "2.0");
    node.configure(&server.url, &format!("forced = 'now'\n{SHUT}"));
    assert!(node.settle());
}

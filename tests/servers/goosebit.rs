//! Updates that a gooseBit server assigns: one artifact each, with a SHA-1, always forced.

use std::fs;
use std::sync::LazyLock;

use abide_testing::goosebit::GooseBit;
use abide_testing::hawkbit::repository;
use abide_testing::skip::skipped;

use crate::Node;
use crate::node::said;
use crate::published::Published;

/// One for all tests, which have machines, feeds and versions of their own.
static GOOSEBIT: LazyLock<Result<GooseBit, String>> =
    LazyLock::new(|| GooseBit::start(&repository(env!("CARGO_MANIFEST_DIR"))));

/// What every test begins with; without a server it ends there.
fn server() -> Option<&'static GooseBit> {
    GOOSEBIT.as_ref().inspect_err(|why| skipped("a test with gooseBit", why)).ok()
}

/// A machine that trusts the key of `published`, and is known to the server from its first poll on.
fn node(goosebit: &GooseBit, published: &Published, name: &str, more: &str) -> Node {
    let node = Node::of(&goosebit.url, name, more);
    published.trust(&node, &goosebit.url, more);
    let runs = node.run();
    assert!(runs.iter().all(|run| run.code == 0), "{}", said(&runs));
    assert_eq!(goosebit.state(name), "Registered");
    assert_eq!(goosebit.device(name)["sw_version"], "1.0");
    node
}

/// Boots the update and commits it.
fn commit(node: &mut Node, version: &str) {
    node.tree.boot_with_initrd(version);
    node.run();
    node.tree.abide(&["commit", "--now"]).ok();
    node.run();
}

#[test]
fn a_rollout_ends_at_each_machine_after_its_commit_or_rollback() {
    let Some(goosebit) = server() else { return };
    let published = Published::new();
    let [mut good, mut bad] = ["goose-good", "goose-bad"].map(|name| node(goosebit, &published, name, ""));
    let software = goosebit.offer(&published.add("2.1"));
    let rollout = goosebit.rollout("commit", &["goose-good", "goose-bad"], software);
    for node in [&good, &bad] {
        assert!(node.settle(), "{}", said(&node.run()));
    }
    good.tree.boot_with_initrd("2.1");
    good.run();
    // On trial the server is told neither the end nor the new version.
    assert_eq!(goosebit.state("goose-good"), "Running");
    assert_eq!(goosebit.device("goose-good")["sw_version"], "1.0");
    good.tree.abide(&["commit", "--now"]).ok();
    bad.tree.boot_with_initrd("2.1");
    bad.run();
    bad.tree.abide(&["rollback", "--reason", "it smells of burning"]).ok();
    bad.tree.boot_with_initrd("1.0");
    for _ in 0..3 {
        for node in [&good, &bad] {
            let runs = node.run();
            assert!(!node.reboots() && runs.iter().all(|run| run.code == 0), "{}", said(&runs));
        }
    }
    assert_eq!(goosebit.state("goose-good"), "Finished");
    assert_eq!(goosebit.device("goose-good")["sw_version"], "2.1");
    assert_eq!(goosebit.state("goose-bad"), "Error");
    let log = goosebit.log("goose-bad");
    assert!(log.contains("2.1 was rolled back to 1.0: it smells of burning"), "{log}");
    // Each machine has ended it once.
    assert_eq!(goosebit.rollout_counts(rollout), (1, 1));
    // The number of the action is that of the software: it is the same when somebody orders it again.
    goosebit.force("goose-bad");
    bad.run();
    bad.run();
    assert!(!bad.reboots());
    assert_eq!(goosebit.state("goose-bad"), "Error");
    let log = goosebit.log("goose-bad");
    assert!(log.contains("it failed on this machine"), "{log}");
}

#[test]
fn an_order_with_a_sha_1_only_is_refused_with_an_answer() {
    let Some(goosebit) = server() else { return };
    let published = Published::new();
    let beside = goosebit.offer(&published.add_unsigned("2.2"));
    let uploaded =
        goosebit.upload("edge_2.3.raw.zst", &fs::read(published.path("edge_2.2.raw.zst")).unwrap());
    let nodes = ["goose-beside", "goose-uploaded"].map(|name| node(goosebit, &published, name, ""));
    for (node, software) in nodes.iter().zip([beside, uploaded]) {
        goosebit.assign(&node.name, software);
        for _ in 0..2 {
            node.run();
        }
        let log = goosebit.log(&node.name);
        assert_eq!(goosebit.state(&node.name), "Error", "{log}");
        assert!(log.contains("no SHA-256") && log.contains("no SHA256SUMS beside it"), "{log}");
        assert!(!node.has_fetched("edge_2.2.raw.zst") && !node.has_fetched("edge_2.3.raw.zst"));
    }
}

#[test]
fn a_list_beside_the_image_counts_only_where_it_is_signed() {
    let Some(goosebit) = server() else { return };
    let published = Published::new();
    let digest = Node::of(&goosebit.url, "goose-digest", "");
    digest.run();
    let stranger = node(goosebit, &Published::new(), "goose-stranger", "");
    let software = goosebit.offer(&published.add("2.4"));
    for (node, why) in [(&digest, "no signature is required"), (&stranger, "by a key that is not installed")]
    {
        goosebit.assign(&node.name, software);
        node.run();
        node.run();
        let log = goosebit.log(&node.name);
        assert_eq!(goosebit.state(&node.name), "Error", "{log}");
        assert!(log.contains(why), "{log}");
        assert!(!node.reboots());
    }
}

#[test]
fn a_forced_order_waits_for_the_machines_window() {
    let Some(goosebit) = server() else { return };
    let published = Published::new();
    let shut = "[[update.window]]\ndates = [2099-01-01]\nstart = '01:00'\nlength = '2h'\n";
    let mut node = node(goosebit, &published, "goose-window", shut);
    goosebit.assign("goose-window", goosebit.offer(&published.add("2.5")));
    assert!(!node.settle());
    assert_eq!(node.tree.status()["slots"][1]["version"], "2.5");
    let log = goosebit.log("goose-window");
    assert_eq!(goosebit.state("goose-window"), "Running");
    assert!(log.contains("Waiting for the window that opens at 2099-01-01"), "{log}");
    published.trust(&node, &goosebit.url, &format!("forced = 'now'\n{shut}"));
    assert!(node.settle());
    commit(&mut node, "2.5");
    assert_eq!(goosebit.state("goose-window"), "Finished");
}

//! Every order ends in an answer: with a server that validates as hawkBit 0.9 to 1.1 do.

use abide_testing::Image;
use abide_testing::ddi::{Ddi, Habits, Stand};
use serde_json::{Value, json};

use crate::Node;
use crate::node::said;

/// A server that orders 2.0, and its machine, which runs 1.0.
fn machine(more: &str, habits: Habits) -> (Ddi, Node) {
    let server = Ddi::serve("2.0", Image::new("2.0", "b").zst());
    server.behaves(habits);
    server.set(Stand::Running);
    let node = Node::of(&server.url, "n", more);
    (server, node)
}

/// Boots 2.0 and rolls it back.
fn roll_back(node: &mut Node, reason: &str) {
    assert!(node.settle(), "{}", said(&node.run()));
    node.tree.boot_with_initrd("2.0");
    node.run();
    node.tree.abide(&["rollback", "--reason", reason]).ok();
    node.tree.boot_with_initrd("1.0");
    node.run();
}

#[test]
fn attributes_are_made_acceptable() {
    let long = "x".repeat(200);
    let more = format!("attributes = {{ site = 'K\u{fc}hlraum', kernel = '6.1~rc1', note = '{long}' }}");
    let (server, node) = machine(&more, Habits::default());
    assert!(node.settle(), "{}", said(&node.run()));
    let attributes = server.attributes();
    assert_eq!((&*attributes["site"], &*attributes["kernel"]), ("K_hlraum", "6.1_rc1"));
    assert_eq!((&*attributes["note"], &*attributes["version"]), (&*"x".repeat(128), "1.0"));
}

#[test]
fn refused_attributes_keep_no_machine_from_its_orders() {
    let (server, node) = machine("", Habits { most_attributes: Some(3), ..Habits::default() });
    let runs = node.run();
    assert!(node.settle(), "{}", said(&node.run()));
    assert!(said(&runs).contains("hawkBit refuses the attribute version = '1.0'"), "{}", said(&runs));
    assert_eq!(server.attributes().len(), 3);
    // They are not sent again with each poll.
    let before = server.count("PUT", "configData");
    node.run();
    node.run();
    assert_eq!(server.count("PUT", "configData"), before);
    for status in [400, 403, 404, 500, 503] {
        let (server, node) = machine("", Habits { attributes: Some(status), ..Habits::default() });
        assert!(node.settle(), "{status}: {}", said(&node.run()));
        assert!(server.attributes().is_empty());
        // It may have been overloaded: what it asks for, it gets.
        let before = server.count("PUT", "configData");
        node.run();
        assert!(server.count("PUT", "configData") > before, "{status}");
    }
}

#[test]
fn a_reason_that_looks_like_a_tag_arrives() {
    let (server, mut node) = machine("", Habits::default());
    roll_back(&mut node, "<urlopen error [Errno 111] Connection refused>");
    let (result, text) = server.end().unwrap();
    assert_eq!(result, "failure");
    assert!(text.contains("< urlopen error [Errno 111] Connection refused>"), "{text}");
    assert!(text.contains("phase: userspace"), "{text}");
}

#[test]
fn a_server_that_refuses_every_text_gets_the_answer_without_it() {
    for status in [400, 401, 403, 408, 409, 422, 425, 429, 500, 501, 502, 503] {
        let (server, mut node) = machine("", Habits { text: Some(status), ..Habits::default() });
        roll_back(&mut node, "it smells of burning");
        // What may be a fault of the server alone is tried again first, with the text.
        for _ in 0..4 {
            node.run();
        }
        assert_eq!(server.end(), Some(("failure".into(), String::new())), "{status}");
    }
}

#[test]
fn an_outage_does_not_cost_the_answer_its_text() {
    for status in [429, 500, 503] {
        let habits = || Habits { text: Some(status), closing: Some(status), ..Habits::default() };
        let (server, mut node) = machine("", habits());
        roll_back(&mut node, "it smells of burning");
        for _ in 0..6 {
            node.run();
        }
        assert_eq!(server.end(), None, "{status}");
        server.behaves(Habits::default());
        node.run();
        let (result, text) = server.end().unwrap();
        assert!(result == "failure" && text.contains("smells"), "{status}: {text}");
    }
}

#[test]
fn the_answer_does_not_wait_behind_the_course_of_its_action() {
    for status in [400, 429, 500] {
        let (server, mut node) = machine("", Habits { course: Some(status), ..Habits::default() });
        roll_back(&mut node, "it smells of burning");
        let (result, text) = server.end().unwrap();
        assert!(result == "failure" && text.contains("smells"), "{status}: {text}");
    }
}

#[test]
fn an_answer_survives_a_server_that_is_away_and_a_reboot() {
    let (server, mut node) = machine("", Habits::default());
    assert!(node.settle());
    node.tree.boot_with_initrd("2.0");
    node.configure("http://127.0.0.1:9", "");
    node.run();
    node.tree.abide(&["rollback", "--reason", "it smells of burning"]).ok();
    node.tree.boot_with_initrd("1.0");
    node.run();
    node.tree.boot_with_initrd("1.0");
    node.configure(&server.url, "");
    node.run();
    let (result, text) = server.end().unwrap();
    assert!(result == "failure" && text.contains("smells"), "{text}");
}

fn chunk(part: &str, artifacts: &Value) -> Value {
    json!([{ "part": part, "name": "edge", "version": "2.0", "artifacts": artifacts }])
}

fn artifact(name: &str, hashes: &Value) -> Value {
    json!([{ "filename": name, "size": 7, "hashes": hashes,
             "_links": { "download": { "href": "http://127.0.0.1:9/a" } } }])
}

#[test]
fn an_order_that_cannot_be_used_is_answered_with_the_reason() {
    let sha256 = json!({ "sha256": "0".repeat(64) });
    let cases = [
        (json!([{ "part": "os", "version": "2.0" }]), "cannot parse the response"),
        (json!({ "part": "os" }), "cannot parse the response"),
        (chunk("os", &artifact("../edge", &sha256)), "not a valid file name"),
        (chunk("bApp", &artifact("edge_2.0.raw", &sha256)), "no software module of the type 'os'"),
        (json!([]), "no software module of the type 'os'"),
        (chunk("os", &json!([])), "2.0"),
        (chunk("os", &artifact("other_2.0.raw", &sha256)), "2.0"),
        (chunk("os", &artifact("edge_2.0_riscv64.raw", &sha256)), "2.0"),
    ];
    for (chunks, why) in cases {
        let shown = chunks.to_string();
        let (server, node) = machine("", Habits { chunks: Some(chunks), ..Habits::default() });
        for _ in 0..2 {
            node.run();
        }
        let (result, text) = server.end().unwrap_or_else(|| panic!("no answer to {shown}"));
        assert!(result == "failure" && text.contains(why), "{shown}: {text}");
        assert!(!node.reboots(), "{shown}");
    }
}

/// Runs until the order is answered, at most so often, with a poll in between that does not download.
fn until_answered(server: &Ddi, node: &Node, most: usize) -> (String, String) {
    for _ in 0..most {
        node.run();
        if let Some(end) = server.end() {
            return end;
        }
        node.poll_only();
    }
    panic!("no answer: {:?}", server.told("feedback"));
}

#[test]
fn an_image_that_is_not_on_the_server_ends_the_order_after_few_tries() {
    let (server, node) = machine("", Habits { image: Some(404), ..Habits::default() });
    let (result, text) = until_answered(&server, &node, 7);
    assert!(result == "failure" && text.contains("cannot be downloaded (5 tries)"), "{text}");
    assert!(text.contains("404"), "{text}");
}

#[test]
fn an_outage_of_the_image_server_ends_the_order_after_most_of_a_day() {
    let (server, node) = machine("", Habits { image: Some(503), ..Habits::default() });
    for _ in 0..7 {
        node.run();
    }
    assert_eq!(server.stand(), Stand::Running);
    let (result, text) = until_answered(&server, &node, 5);
    assert!(result == "failure" && text.contains("cannot be downloaded (10 tries)"), "{text}");
    assert!(text.contains("503"), "{text}");
}

#[test]
fn an_exchanged_image_ends_the_order_after_few_downloads() {
    let (server, node) = machine("", Habits::default());
    server.exchange(Image::new("2.0", "a").zst());
    let (result, text) = until_answered(&server, &node, 7);
    assert!(result == "failure" && text.contains("its SHA-256 is"), "{text}");
    assert!(!text.contains("SHA256SUMS"), "the order has no list: {text}");
    assert_eq!(server.count("GET", "/file"), 5);
    let told = server.told("deploymentBase/7/feedback");
    let waits = told.iter().filter(|said| said["status"]["execution"] == "scheduled");
    // The same reason for the same wait is told once: a server has room for so many messages.
    assert_eq!(waits.count(), 1, "{told:?}");
    for _ in 0..3 {
        node.run();
    }
    assert_eq!(server.count("GET", "/file"), 5);
}

#[test]
fn a_list_that_cannot_be_fetched_ends_the_order() {
    let list = json!([{ "filename": "SHA256SUMS", "size": 7, "hashes": {},
                        "_links": { "download": { "href": "http://127.0.0.1:9/a" } } }]);
    let (server, node) = machine("", Habits { chunks: Some(chunk("os", &list)), ..Habits::default() });
    node.run();
    assert_eq!(server.stand(), Stand::Running);
    let (result, text) = until_answered(&server, &node, 10);
    assert!(result == "failure" && text.contains("(10 tries)"), "{text}");
}

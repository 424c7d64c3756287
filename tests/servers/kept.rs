//! Nothing but a later decision of the server ends an order or deletes what was fetched for it.

use std::fs;

use abide_testing::ddi::{Ddi, Habits, Stand};
use abide_testing::{Image, tree};

use crate::Node;
use crate::node::said;

const FIRST: usize = 100_000;

/// A machine that has fetched the first bytes of 2.0, which its server has ordered.
struct Half {
    server: Ddi,
    node: Node,
    digest: String,
}

impl Half {
    fn new() -> Self {
        let image = Image::new("2.0", "b").zst();
        let digest = tree::digest(&image);
        let server = Ddi::serve("2.0", image);
        server.set(Stand::Running);
        let more = "[download]\ngive_up_after = '0s'\n";
        let node = Node::of(&server.url, "n", more);
        let it = Self { server, node, digest };
        it.behaves(Habits::default());
        it.node.run();
        it.is_kept("at first");
        it
    }

    /// What else the server does; its downloads break off.
    fn behaves(&self, habits: Habits) {
        self.server.behaves(Habits { cut: Some(FIRST), ..habits });
    }

    fn is_kept(&self, what: &str) {
        let part = self.node.tree.path(&format!("var/lib/abide/feed/{}.part", self.digest));
        assert!(fs::metadata(part).is_ok_and(|meta| meta.len() >= FIRST as u64), "{what}");
        let ledger = fs::read_to_string(self.node.tree.path("var/lib/abide/feed/hawkbit.json")).unwrap();
        assert!(ledger.contains("\"action\":\"7\"") && self.server.end().is_none(), "{what}: {ledger}");
    }

    /// Lets the download end.
    fn ends(&self) {
        self.server.behaves(Habits::default());
        assert!(self.node.settle(), "{}", said(&self.node.run()));
    }
}

#[test]
fn json_that_is_no_poll_reply_withdraws_no_order() {
    let half = Half::new();
    for text in ["{}", "{\"captive\":true}", "{\"_links\":{}}", "null", "[]"] {
        half.behaves(Habits { between: Some(text.into()), ..Habits::default() });
        let runs = half.node.poll_only();
        assert!(runs[1].code == 1, "{text}: {}", said(&runs));
        half.is_kept(text);
    }
    half.ends();
}

#[test]
fn an_answer_that_a_portal_swallows_is_sent_again() {
    let (server, node) = {
        let server = Ddi::serve("2.0", Image::new("2.0", "b").zst());
        server.set(Stand::Running);
        let node = Node::of(&server.url, "n", "");
        (server, node)
    };
    server.behaves(Habits { chunks: Some(serde_json::json!([])), closing: Some(500), ..Habits::default() });
    node.run();
    for text in ["{\"captive\":true}", "{}", "welcome"] {
        server.behaves(Habits { between: Some(text.into()), ..Habits::default() });
        node.run();
    }
    server.behaves(Habits::default());
    node.run();
    let (result, text) = server.end().unwrap();
    assert!(result == "failure" && text.contains("no software module"), "{text}");
}

#[test]
fn a_check_deletes_nothing_of_a_download() {
    let half = Half::new();
    for stand in [Stand::Idle, Stand::Unconfirmed] {
        half.server.set(stand);
        half.node.tree.abide(&["update", "--check", "--json"]);
        half.is_kept("after a check");
    }
    half.server.set(Stand::Running);
    half.ends();
}

#[test]
fn a_list_that_was_damaged_is_stored_again_and_nothing_is_told() {
    let half = Half::new();
    let list = half.node.tree.path("var/lib/abide/feed/SHA256SUMS");
    for damaged in [Some(""), Some("not a list"), Some("\u{0}"), None] {
        match damaged {
            Some(text) => fs::write(&list, text).unwrap(),
            None => fs::remove_file(&list).unwrap(),
        }
        half.node.poll_only();
        half.is_kept(&format!("{damaged:?}"));
        assert!(fs::read_to_string(&list).unwrap().contains("edge_2.0"), "{damaged:?}");
    }
    half.ends();
    let told = half.server.told("deploymentBase/7/feedback");
    let accepted = told.iter().filter(|said| said.to_string().contains("will be installed"));
    assert_eq!(accepted.count(), 1, "{told:?}");
}

#[test]
fn each_poll_refreshes_the_link_of_what_is_to_be_downloaded() {
    let half = Half::new();
    half.server.behaves(Habits { key: Some("2".into()), ..Habits::default() });
    assert!(half.node.settle(), "{}", said(&half.node.run()));
}

#[test]
fn another_action_for_the_same_image_is_carried_out_at_once() {
    let server = Ddi::serve("2.0", Image::new("2.0", "b").zst());
    server.set(Stand::Running);
    server.behaves(Habits { image: Some(404), ..Habits::default() });
    let node = Node::of(&server.url, "n", "");
    for _ in 0..6 {
        node.run();
    }
    assert_eq!(server.end().unwrap().0, "failure");
    server.behaves(Habits { action: Some(9), ..Habits::default() });
    server.set(Stand::Running);
    node.poll_only();
    assert_eq!(node.tree.status()["slots"][1]["version"], "2.0");
}

#[test]
fn overload_ends_the_sending_of_attributes_for_a_while() {
    let server = Ddi::serve("2.0", Image::new("2.0", "b").zst());
    server.behaves(Habits { attributes: Some(429), ..Habits::default() });
    let node = Node::of(&server.url, "n", "");
    node.run();
    node.run();
    assert_eq!(server.count("PUT", "configData"), 1);
}

#[test]
fn an_answer_is_sent_once_in_a_run() {
    let server = Ddi::serve("2.0", Image::new("2.0", "b").zst());
    server.set(Stand::Running);
    let habits = Habits { chunks: Some(serde_json::json!([])), closing: Some(500), ..Habits::default() };
    server.behaves(habits);
    let node = Node::of(&server.url, "n", "");
    node.run();
    let before = server.count("POST", "feedback");
    node.run();
    assert_eq!(server.count("POST", "feedback"), before + 1);
}

#[test]
fn a_denial_arrives_without_the_text_that_is_refused() {
    for status in [401, 403, 429, 503] {
        let server = Ddi::serve("2.0", Image::new("2.0", "b").zst());
        server.set(Stand::Unconfirmed);
        let chunks = Some(serde_json::json!([]));
        server.behaves(Habits { chunks, text: Some(status), ..Habits::default() });
        let node = Node::of(&server.url, "n", "");
        for _ in 0..5 {
            node.run();
        }
        let told = server.told("confirmationBase");
        assert!(told.len() == 1 && told[0]["confirmation"] == "denied", "{status}: {told:?}");
    }
}

#[test]
fn a_check_names_an_order_without_an_image() {
    let server = Ddi::serve("2.0", Image::new("2.0", "b").zst());
    server.set(Stand::Running);
    let node = Node::of(&server.url, "n", "");
    let check = || node.tree.abide(&["update", "--check", "--json"]).json();
    assert_eq!(check()["state"], "available");
    server.behaves(Habits { chunks: Some(serde_json::json!([])), ..Habits::default() });
    assert_eq!(check()["state"], "no-image");
    let other = serde_json::json!([{ "filename": "other_2.0.raw", "size": 7,
        "hashes": { "sha256": "0".repeat(64) }, "_links": { "download": { "href": "http://127.0.0.1:9/a" } } }]);
    let chunks = serde_json::json!([{ "part": "os", "name": "edge", "version": "2.0", "artifacts": other }]);
    server.behaves(Habits { chunks: Some(chunks), ..Habits::default() });
    let answer = check();
    assert_eq!(answer["state"], "no-image");
    assert!(!answer["reason"].as_str().unwrap().contains("feed"), "{answer}");
}

#[test]
fn the_state_of_an_order_stays_with_its_owner() {
    use std::os::unix::fs::PermissionsExt;
    let half = Half::new();
    let ledger = half.node.tree.path("var/lib/abide/feed/hawkbit.json");
    assert_eq!(fs::metadata(ledger).unwrap().permissions().mode() & 0o777, 0o600);
}

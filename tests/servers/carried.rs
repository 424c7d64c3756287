//! Orders of a server that offers one artifact and reports no SHA-256: the image carries its signature.

use std::fs;
use std::process::Stdio;

use abide_testing::ddi::{Ddi, Habits, Stand};
use abide_testing::{Image, program};
use serde_json::json;

use crate::Node;
use crate::published::Published;

/// The image of 2.0 behind its signature.
fn signed(published: &Published) -> Vec<u8> {
    published.add("2.0");
    let make = "{ echo 'abide-signature 1'; cat SHA256SUMS SHA256SUMS.minisig; } > frame";
    let mut sh = program("sh");
    sh.args(["-euc", make]).current_dir(published.path("")).stdout(Stdio::null());
    assert!(sh.status().unwrap().success());
    let content = fs::read(published.path("frame")).unwrap();
    let len = u32::try_from(content.len()).unwrap().to_le_bytes();
    [b"P*M\x18", &len[..], &content, &Image::new("2.0", "b").zst()].concat()
}

/// A server that offers `file` as `name`, by its SHA-1 only.
fn server(name: &str, file: Vec<u8>) -> Ddi {
    let server = Ddi::serve("2.0", file.clone());
    let artifact = json!({ "filename": name, "size": file.len(), "hashes": { "sha1": "7" },
                           "_links": { "download-http": { "href": format!("{}/file", server.url) } } });
    let chunks = json!([{ "part": "os", "name": "edge", "version": "2.0", "artifacts": [artifact] }]);
    server.behaves(Habits { chunks: Some(chunks), ..Habits::default() });
    server.set(Stand::Running);
    server
}

fn node(published: &Published, server: &Ddi) -> Node {
    let node = Node::of(&server.url, "edge-1", "");
    published.trust(&node, &server.url, "");
    node
}

#[test]
fn an_image_that_carries_its_signature_is_installed_and_reported() {
    let published = Published::new();
    let server = server("edge_2.0.raw.zst", signed(&published));
    let mut node = node(&published, &server);
    assert!(node.settle(), "{:?}", server.told("feedback"));
    node.tree.boot_with_initrd("2.0");
    node.tree.abide(&["commit", "--now"]).ok();
    node.run();
    let (result, text) = server.end().unwrap();
    assert_eq!(result, "success", "{text}");
    assert_eq!(node.tree.status()["slots"][1]["verified"], "signed by ours.pub");
}

#[test]
fn one_that_carries_none_or_a_bad_one_is_refused_with_an_answer() {
    let published = Published::new();
    let mut changed = signed(&published);
    changed[100] ^= 1;
    let unsigned = Image::new("2.0", "b").zst();
    for (file, why) in [(changed, "the signature that it carries"), (unsigned, "no SHA-256")] {
        let server = server("edge_2.0.raw.zst", file);
        let node = node(&published, &server);
        node.run();
        let (result, text) = server.end().unwrap();
        assert!(result == "failure" && text.contains(why), "{text}");
        assert!(!node.reboots());
    }
}

#[test]
fn other_bytes_behind_the_signature_are_never_installed() {
    let published = Published::new();
    let mut file = signed(&published);
    *file.last_mut().unwrap() ^= 1;
    let server = server("edge_2.0.raw.zst", file);
    let node = node(&published, &server);
    for _ in 0..3 {
        node.run();
        assert!(!node.reboots());
    }
    assert_eq!(node.tree.state().update, None);
}

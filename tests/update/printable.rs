//! Text of servers and publishers, and everything that shows it.

use abide_testing::ddi::{Ddi, Stand};
use abide_testing::hostile::{HOSTILE, HOSTILE_WORD, assert_json, assert_machine, assert_run};
use abide_testing::scripted::answer;

use super::*;

const EVENTS: &str = "[report]\nurl = 'http://127.0.0.1:1/'\nmetrics = '/var/lib/abide/abide.prom'\n";

#[track_caller]
fn update(tree: &Tree) -> Run {
    let run = tree.abide(&["-vv", "update"]);
    assert_run("update", &run);
    assert_machine(tree);
    let run = tree.abide(&["-v", "update", "--check"]);
    assert_run("update --check", &run);
    run
}

#[test]
fn the_refusal_of_a_reboot_lock_is_shown_without_its_escapes() {
    let feed = Feed::new();
    feed.publish("2.0", "b");
    let body = serde_json::json!({ "kind": "full", "value": HOSTILE }).to_string();
    let server = Scripted::new(move |_| {
        answer("409 Conflict", &[&format!("Content-Length: {}", body.len())], body.as_bytes())
    });
    let tree = machine(&feed);
    feed.configure(&tree, &format!("[update.fleetlock]\nurl = '{}'\nid = 'n'\n{EVENTS}", server.url("")));
    update(&tree);
    assert!(words(&tree).2.contains("full: evil"), "{:?}", words(&tree));
    assert!(fs::read_dir(tree.path("var/lib/abide/reports")).unwrap().next().is_some());
}

#[test]
fn a_file_whose_name_cannot_be_shown_is_no_release() {
    let feed = Feed::new();
    feed.put(&format!("edge_{HOSTILE_WORD}.raw.zst"), b"newer");
    feed.publish("2.0", "b");
    let tree = machine(&feed);
    feed.configure(&tree, EVENTS);
    let run = tree.abide(&["-vv", "update"]).ok();
    assert_run("update", &run);
    assert_eq!(words(&tree).1, "UPDATE_REBOOTING");
    assert_machine(&tree);
}

#[test]
fn an_image_whose_version_cannot_be_shown_is_refused() {
    let tree = Tree::running("1.0");
    fs::create_dir_all(tree.path("etc/abide")).unwrap();
    fs::write(tree.path("etc/abide/abide.toml"), format!("[trust]\npolicy = 'none'\n{EVENTS}")).unwrap();
    for version in [HOSTILE_WORD, "6.6\u{202e}"] {
        let path = tree.path("image.raw");
        fs::write(&path, Image::new(version, "b").bytes()).unwrap();
        let run = tree.abide(&["-vv", "write", path.to_str().unwrap()]).fails(6);
        assert_run("write", &run);
        assert_machine(&tree);
    }
}

#[test]
fn what_an_action_of_hawkbit_says_is_shown_without_its_escapes() {
    let server = Ddi::serve(HOSTILE_WORD, Image::new("2.0", "b").zst());
    let tree = Tree::running("1.0");
    fs::create_dir_all(tree.path("etc/abide")).unwrap();
    let text = format!("[update.hawkbit]\nurl = '{}'\nid = 'n'\n{EVENTS}", server.url);
    fs::write(tree.path("etc/abide/abide.toml"), text).unwrap();
    for stand in [Stand::Unconfirmed, Stand::Running] {
        server.set(stand);
        update(&tree);
        for told in server.told("feedback") {
            assert_json("feedback", &told);
        }
    }
}

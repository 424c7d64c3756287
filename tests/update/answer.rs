//! The answers of `update --check`, and of every command with `--json` that fails.

use serde_json::{Value, json};

use super::*;

/// The one JSON object on standard output.
fn object(run: &Run) -> Value {
    assert_eq!(run.stdout.lines().count(), 1, "{run:?}");
    run.json()
}

fn check(tree: &Tree, code: i32) -> Value {
    let run = tree.abide(&["update", "--check", "--json"]);
    assert_eq!(run.code, code, "{run:?}");
    object(&run)
}

#[test]
fn a_script_tells_the_answers_of_a_check_apart() {
    let feed = Feed::new();
    let tree = machine(&feed);
    feed.publish("1.0", "a");
    let run = tree.abide(&["update", "--check"]).fails(5);
    assert_eq!((run.stdout.as_str(), run.stderr.as_str()), ("Up to date\n", "abide: no update to install\n"));
    let answer = check(&tree, 5);
    let url = feed.server.url.clone();
    let expected = json!({
        "schema": 1, "state": "up-to-date", "version": null, "digest": null, "size": null, "fetch": null,
        "patch_from": null, "towards": null,
        "downgrade": false, "source": url, "reason": "Up to date", "until": null,
    });
    assert_eq!(answer, expected);
    let image = feed.publish("2.0", "b").zst();
    let answer = check(&tree, 0);
    assert_eq!((&answer["state"], &answer["version"]), (&json!("available"), &json!("2.0")));
    assert_eq!(answer["digest"], abide_testing::tree::digest(&image));
    assert_eq!(answer["reason"], "2.0 is available");
    tree.abide(&["update", "--pin"]).ok();
    let answer = check(&tree, 5);
    assert_eq!(
        (&answer["state"], &answer["reason"]),
        (&json!("waiting"), &json!("Pinned to 1.0 by `abide update --pin`"))
    );
    // What does not need the network is known beforehand.
    tree.abide(&["update", "--unpin"]).ok();
    fs::rename(feed.path(""), tree.path("images")).unwrap();
    fs::write(tree.path("etc/abide/abide.toml"), "[update]\nfeed = '/images'\n").unwrap();
    assert_eq!(check(&tree, 0)["size"], image.len());
}

#[test]
fn a_check_that_fails_is_one_object_with_the_error() {
    let feed = Feed::new();
    let tree = machine(&feed);
    feed.publish("2.0", "b");
    feed.put("SHA256SUMS", b"login");
    let answer = check(&tree, 7);
    assert_eq!(answer["error"]["code"], 7);
    let both = tree.abide(&["update", "--check", "--json", "--progress", "json"]).fails(7);
    assert_eq!(object(&both), answer);
    let run = tree.abide(&["update", "--check", "--json"]);
    let message = answer["error"]["message"].as_str().unwrap();
    assert_eq!(run.stderr, format!("abide: {message}\n"));
    fs::remove_file(tree.path("etc/abide/abide.toml")).unwrap();
    assert_eq!(check(&tree, 5)["error"]["code"], 5);
}

/// The commands that take `--json`, and what they need beside it.
fn commands(tree: &Tree) -> Vec<Vec<String>> {
    let help = tree.abide(&["--help"]).ok().stdout;
    let lines =
        help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    let names = lines.filter_map(|line| line.split_whitespace().next()).filter(|name| *name != "help");
    let takes_json = |name: &&str| tree.abide(&[name, "--help"]).stdout.contains("--json");
    let words = |name: &str| {
        let more = if name == "update" { vec!["--check"] } else { vec![] };
        [vec![name], more, vec!["--json"]].concat().into_iter().map(str::to_owned).collect()
    };
    names.filter(takes_json).map(words).collect()
}

#[test]
fn every_command_with_json_answers_with_one_object_however_it_ends() {
    let whole = Tree::running("1.0");
    let commands = commands(&whole);
    assert!(commands.len() >= 7, "{commands:?}");
    let bare = tempfile::tempdir().unwrap();
    let mut errors = 0;
    for words in &commands {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let unusable = [&words[..], &["--no-such-option"]].concat();
        let given = [&words[..words.len() - 1], &["--json=yes"]].concat();
        fs::create_dir_all(whole.path("etc/abide")).unwrap();
        for (config, words) in [("", &words), ("[update", &words), ("", &unusable), ("", &given)] {
            fs::write(whole.path("etc/abide/abide.toml"), config).unwrap();
            for root in [whole.dir.path(), bare.path()] {
                let run = Run::of(abide_testing::abide().arg("--root").arg(root).args(words));
                let answer = object(&run);
                assert_eq!(answer["schema"], 1, "{words:?}: {run:?}");
                if let Some(error) = answer.get("error") {
                    errors += 1;
                    assert_eq!(error["code"], run.code, "{words:?}: {run:?}");
                    assert_eq!(
                        run.stderr.lines().last(),
                        Some(&*format!("abide: {}", error["message"].as_str().unwrap()))
                    );
                    assert!(run.stderr.contains(error["message"].as_str().unwrap()), "{words:?}: {run:?}");
                }
            }
        }
    }
    assert!(errors >= 6 * commands.len(), "{errors}");
}

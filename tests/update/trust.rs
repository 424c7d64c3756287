//! What a machine installs by itself: only what is signed, and never an older list than it has seen.

use super::*;

/// Published files with their list, as a server may keep them.
fn copy(feed: &Feed) -> tempfile::TempDir {
    let kept = tempfile::tempdir().unwrap();
    feed.sh(&format!("cp * {}", kept.path().display()));
    kept
}

/// The server goes back to what it published before.
fn replay(feed: &Feed, kept: &tempfile::TempDir) {
    feed.sh(&format!("rm -f *; cp {}/* .", kept.path().display()));
}

/// Signs the list as if that were then, with a second between two lists.
fn list_at(feed: &Feed, seconds: u32) {
    feed.sh(&format!(
        "rm -f SHA256SUMS*; sha256sum $(ls) > ../sums; mv ../sums SHA256SUMS; \
         minisign -S -s ../ours.key -m SHA256SUMS -t timestamp:{seconds} >/dev/null"
    ));
}

#[test]
fn nothing_is_installed_without_a_signature_unless_it_is_spelled_out() {
    let feed = Feed::new();
    feed.publish("2.0", "b");
    feed.sh("rm SHA256SUMS.minisig");
    let stick = |tree: &Tree| {
        feed.sh(&format!("mkdir -p {0}; cp * {0}", tree.path("mnt/stick").display()));
        "/mnt/stick".to_owned()
    };
    let server = |_: &Tree| feed.server.url.clone();
    let places: [&dyn Fn(&Tree) -> String; 2] = [&stick, &server];
    // Each looks like a key to somebody in a hurry.
    let spoilt: [&dyn Fn(&Tree); 5] = [
        &|_| {},
        &|tree| fs::write(tree.path("etc/abide/keys/ours.pub"), "").unwrap(),
        &|tree| fs::write(tree.path("etc/abide/keys/ours.key"), "key").unwrap(),
        &|tree| fs::write(tree.path("etc/abide/keys/ours.PUB"), "key").unwrap(),
        &|tree| fs::create_dir(tree.path("etc/abide/keys/ours.pub")).unwrap(),
    ];
    for place in places {
        for spoil in spoilt {
            let tree = Tree::running("1.0");
            fs::create_dir_all(tree.path("etc/abide/keys")).unwrap();
            spoil(&tree);
            let feed = place(&tree);
            fs::write(tree.path("etc/abide/abide.toml"), format!("[update]\nfeed = '{feed}'\n")).unwrap();
            tree.abide(&["update"]).fails(7);
            units(&tree);
            assert_eq!((tree.state().update, tree.entries()), (None, vec!["edge_1.0.efi".to_owned()]));
            let found = tree.abide(&["doctor"]).stdout;
            assert!(found.contains("[no-key]") || found.contains("[key-file]"), "{found}");
        }
        let tree = Tree::running("1.0");
        fs::create_dir_all(tree.path("etc/abide")).unwrap();
        let text = format!("[trust]\npolicy = 'digest'\n[update]\nfeed = '{}'\n", place(&tree));
        fs::write(tree.path("etc/abide/abide.toml"), text).unwrap();
        tree.abide(&["update"]).ok();
        let found = tree.abide(&["doctor"]).stdout;
        assert!(found.contains("[unsigned]"), "{found}");
        assert_eq!(tree.status()["slots"][1]["verified"], "digest published beside it, not signed");
    }
}

#[test]
fn a_signed_list_that_is_older_than_one_that_was_seen_is_refused() {
    let feed = Feed::new();
    feed.publish("2.0", "b");
    list_at(&feed, 1_700_000_000);
    let old = copy(&feed);
    // 2.0 is withdrawn.
    feed.sh("rm edge_2.0*");
    list_at(&feed, 1_700_000_001);
    for by_hand in [true, false] {
        let tree = machine(&feed);
        if by_hand {
            assert!(tree.abide(&["update"]).ok().stdout.contains("its list is empty"));
        } else {
            units(&tree);
        }
        assert_eq!(tree.state().lists.len(), 1, "what was seen is remembered, though nothing was installed");
        let newest = copy(&feed);
        replay(&feed, &old);
        let run = tree.abide(&["update"]).fails(7);
        assert!(run.stderr.contains("is older than one that was seen before"), "{}", run.stderr);
        let_time_pass(&tree);
        let [_, _, fetch, ..] = units(&tree);
        assert_eq!(fetch.code, 7, "{}", fetch.stderr);
        assert_eq!(tree.state().update, None);
        // By hand, too, unless it is asked for.
        let url = format!("{}/", feed.server.url.trim_end_matches('/'));
        tree.abide(&["write", &url]).fails(7);
        tree.abide(&["write", &url, "--allow-downgrade"]).ok();
        tree.abide(&["cancel"]).ok();
        tree.abide(&["forget", "--lists"]).ok();
        assert_eq!(tree.abide(&["update", "--check"]).ok().stdout, "2.0 is available\n");
        replay(&feed, &newest);
    }
}

#[test]
fn a_list_of_another_channel_or_feed_is_refused() {
    let feed = Feed::new();
    let tree = machine(&feed);
    let publish = |header: &str| {
        feed.put("feed.toml", format!("format = 1\n{header}\n").as_bytes());
        feed.publish("2.0", "b");
    };
    publish("channel = 'beta'");
    let run = tree.abide(&["update", "--check"]).fails(7);
    assert!(
        run.stderr.contains("is for the channel 'beta', and this machine follows 'stable'"),
        "{}",
        run.stderr
    );
    publish("feed = 'lab'\nchannel = 'stable'");
    feed.configure(&tree, "feed_name = 'edge'");
    tree.abide(&["update", "--check"]).fails(7);
    publish("feed = 'edge'\nexpires = '2021-01-01'");
    let run = tree.abide(&["update", "--check"]).fails(7);
    assert!(run.stderr.contains("expired on 2021-01-01"), "{}", run.stderr);
    publish("feed = 'edge'\nserial = 7");
    assert_eq!(tree.abide(&["update", "--download-only"]).ok().code, 0);
    assert_eq!(tree.state().lists[0].serial, Some(7));
    publish("feed = 'edge'\nserial = 6");
    let run = tree.abide(&["update", "--check"]).fails(7);
    assert!(run.stderr.contains("by its serial"), "{}", run.stderr);
    // Once it was seen, the name need not be configured.
    feed.configure(&tree, "");
    publish("feed = 'lab'\nserial = 8");
    let run = tree.abide(&["update", "--check"]).fails(7);
    assert!(run.stderr.contains("of the feed 'lab', and an earlier one was of 'edge'"), "{}", run.stderr);
}

#[test]
fn a_signed_list_of_keys_changes_the_keys_without_a_new_image() {
    let feed = Feed::new();
    let tree = machine(&feed);
    feed.sh("minisign -G -W -f -p ../new.pub -s ../new.key");
    let key = |name: &str| {
        let text = fs::read_to_string(feed.dir.path().join(name)).unwrap();
        text.lines().last().unwrap().to_owned()
    };
    let keys = |serial: u32, change: &str| {
        feed.put("keys.toml", format!("format = 1\nserial = {serial}\n{change}\n").as_bytes());
        feed.list();
    };
    keys(1, &format!("add = ['{}']", key("new.pub")));
    units(&tree);
    // The old key is lost: the new one signs, and revokes it.
    feed.sh("cp ../new.key ../new-only.key; mv ../ours.key ../lost.key; cp ../new.key ../ours.key");
    keys(2, &format!("add = ['{}']\nrevoke = ['{}']", key("new.pub"), key("ours.pub")));
    let_time_pass(&tree);
    units(&tree);
    feed.publish("2.0", "b");
    assert_eq!(tree.abide(&["update", "--check"]).ok().stdout, "2.0 is available\n");
    // The lost key is revoked: it cannot sign, and it cannot add itself again.
    feed.sh("cp ../lost.key ../ours.key");
    keys(3, "");
    tree.abide(&["update"]).fails(7);
    assert!(fs::read_to_string(tree.path("var/lib/abide/keys.toml")).unwrap().contains("serial = 2"));
    // A list that would leave no key is not used.
    feed.sh("cp ../new.key ../ours.key");
    keys(4, &format!("revoke = ['{}', '{}']", key("new.pub"), key("ours.pub")));
    let run = tree.abide(&["update", "--download-only"]).ok();
    assert!(run.stderr.contains("would leave 0 valid keys"), "{}", run.stderr);
}

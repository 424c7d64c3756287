//! Releases that reach the machines in stages.

use jiff::{SignedDuration, Timestamp};

use super::*;

/// Publishes 2.0 with these keys.
fn publish(feed: &Feed, keys: &str) {
    feed.put("feed.toml", format!("format = 1\n[[release]]\nversion = '2.0'\n{keys}\n").as_bytes());
    feed.publish("2.0", "b");
}

/// A rollout that began some hours ago: nobody at first, everybody after a day.
fn begun(hours: i64) -> String {
    let published = Timestamp::now() - SignedDuration::from_hours(hours);
    format!(
        "published = '{published:.0}'\nrollout = [{{after = '0h', percent = 0}}, {{after = '24h', percent = 100}}]"
    )
}

#[test]
fn a_machine_waits_for_its_turn_in_a_rollout_and_says_when_it_comes() {
    let feed = Feed::new();
    let tree = machine(&feed);
    fs::write(tree.path("etc/machine-id"), "0123456789abcdef0123456789abcdef\n").unwrap();
    publish(&feed, &begun(1));
    let run = tree.abide(&["update", "--check"]).fails(5);
    assert!(run.stdout.starts_with("2.0: this machine's turn is stage 2 of 2, after 20"), "{run:?}");
    let answer = tree.abide(&["update", "--check", "--json"]).json();
    assert_eq!((&answer["state"], &answer["version"]), (&"waiting".into(), &"2.0".into()));
    assert_eq!(
        answer["digest"],
        abide_testing::tree::digest(&fs::read(feed.path("edge_2.0.raw.zst")).unwrap())
    );
    let until: Timestamp = answer["until"].as_str().unwrap().parse().unwrap();
    assert!(until > Timestamp::now() + SignedDuration::from_hours(22));
    feed.asked();
    units(&tree);
    let status = tree.status();
    assert!(status["feed"]["waiting"].as_str().unwrap().contains("stage 2 of 2"), "{status}");
    assert_eq!(status["feed"]["until"], answer["until"]);
    assert!(tree.abide(&["status"]).ok().stdout.contains("stage 2 of 2"));
    assert!(!feed.asked().iter().any(|path| path.ends_with(".zst")) && !reboots(&tree));
    publish(&feed, &begun(25));
    let_time_pass(&tree);
    assert_eq!(tree.abide(&["update", "--check"]).ok().stdout, "2.0 is available\n");
    publish(&feed, &format!("{}\nhalted = true", begun(25)));
    let run = tree.abide(&["update"]).ok();
    assert_eq!(run.stdout, "2.0: its publisher has halted the rollout\n");
    assert!(!reboots(&tree));
}

#[test]
fn the_status_after_a_check_has_its_answer() {
    let feed = Feed::new();
    let tree = machine(&feed);
    let shown = || tree.abide(&["status"]).ok().stdout;
    let held = begun(1);
    for (keys, told) in [
        (held.as_str(), "stage 2 of 2"),
        ("channels = ['beta']", "it is for the channel beta"),
        ("min_version = '1.5'", "it is for systems of version 1.5 or newer"),
        ("requires = '1.5'", "it requires 1.5 first"),
        ("halted = true", "its publisher has halted the rollout"),
    ] {
        publish(&feed, keys);
        let answer = tree.abide(&["update", "--check", "--json"]).fails(5).json();
        assert_eq!((&answer["state"], &answer["version"]), (&"waiting".into(), &"2.0".into()), "{keys}");
        let status = shown();
        assert!(status.contains(told) && status.contains("nothing to install now"), "{keys}: {status}");
        assert_eq!(tree.status()["feed"]["until"], answer["until"], "{keys}");
    }
    publish(&feed, "");
    tree.abide(&["update", "--check"]).ok();
    assert!(shown().contains("2.0          available"), "{}", shown());
    // What the agent finds replaces it, and the other way round.
    publish(&feed, &held);
    let_time_pass(&tree);
    units(&tree);
    assert!(shown().contains("stage 2 of 2"));
    feed.sh("rm edge_2.0* feed.toml");
    feed.publish("1.0", "a");
    tree.abide(&["update", "--check"]).fails(5);
    assert!(shown().contains("nothing newer"), "{}", shown());
}

#[test]
fn a_check_does_not_hide_the_wait_of_an_update_or_its_event() {
    let feed = Feed::new();
    let tree = machine(&feed);
    let shut = "[[update.window]]\ndates = [2099-01-01]\nstart = '01:00'\nlength = '2h'\n";
    feed.configure(&tree, &format!("download_spread = 0\n{shut}"));
    feed.publish("2.0", "b");
    let waits = || {
        tree.status()["feed"]["waiting"].as_str().unwrap_or_default().contains("window that opens at 2099")
    };
    let announced = || tree.abide(&["history", "--json"]).ok().stdout.matches("window that opens").count();
    tree.abide(&["update", "--check"]).ok();
    assert!(!waits());
    let_time_pass(&tree);
    for part in ["--survey", "--fetch", "--install", "--survey", "--fetch", "--install", "--boot"] {
        tree.abide(&["update", part]).ok();
    }
    assert!(waits());
    let before = announced();
    tree.abide(&["update", "--check"]).ok();
    assert!(waits());
    tree.abide(&["update", "--boot"]).ok();
    assert_eq!(announced(), before);
}

#[test]
fn an_operator_can_take_a_release_before_the_turn_of_the_machine() {
    let feed = Feed::new();
    publish(&feed, &begun(1));
    let tree = machine(&feed);
    assert_eq!(tree.abide(&["update", "--check", "--early"]).ok().stdout, "2.0 is available\n");
    assert!(tree.abide(&["update", "--early"]).ok().stdout.contains("Rebooting into 2.0"));
    let tree = machine(&feed);
    tree.abide(&["write", feed.path("").to_str().unwrap()]).ok();
    // A version that is named is taken, too.
    let tree = machine(&feed);
    feed.configure(&tree, "target = '2.0'");
    assert_eq!(tree.abide(&["update", "--check"]).ok().stdout, "2.0 is available\n");
    tree.abide(&["update", "--early", "--pin"]).fails(2);
}

#[test]
fn a_stage_begins_for_a_machine_with_its_first_poll_after_it() {
    let feed = Feed::new();
    let tree = machine(&feed);
    publish(&feed, &begun(25));
    tree.abide(&["update", "--check"]).ok();
    // The list was read before the stage began: it may be halted by now.
    let path = tree.path("var/lib/abide/feed/feed.json");
    let mut state: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    state["polled"] = (Timestamp::now().as_second() - 2 * 3600).into();
    fs::write(&path, state.to_string()).unwrap();
    feed.asked();
    feed.configure(&tree, "interval = '30d'\ndownload_spread = 0");
    units(&tree);
    assert!(feed.asked().is_empty() && !reboots(&tree));
    let_time_pass(&tree);
    feed.configure(&tree, "interval = '1h'\ndownload_spread = 0");
    units(&tree);
    assert!(reboots(&tree));
}

#[test]
fn a_rollout_that_cannot_be_used_refuses_the_feed_and_names_its_line() {
    let feed = Feed::new();
    let tree = machine(&feed);
    for (keys, problem) in [
        ("rollout = [{after = '0h', percent = 5}]", "feed.toml:4: rollout: needs published = "),
        (
            "published = '2026-01-01'\nrollout = [{after = '0h', percent = 101}]",
            "feed.toml:5: percent: must be a number",
        ),
    ] {
        publish(&feed, keys);
        let run = tree.abide(&["update", "--check"]).fails(3);
        assert!(run.stderr.contains(problem), "{}", run.stderr);
    }
}

//! Updates from release to release.

use super::*;

#[test]
fn a_machine_updates_from_release_to_release() {
    let feed = Feed::new();
    let mut tree = machine(&feed);
    feed.publish("1.0", "a");
    assert_eq!(tree.abide(&["update"]).ok().stdout, "Up to date\n");
    feed.publish("2.0", "b");
    assert_eq!(tree.abide(&["update", "--check"]).ok().stdout, "2.0 is available\n");
    assert_eq!(tree.entries(), ["edge_1.0.efi"]);
    let run = tree.abide(&["update"]).ok();
    assert_eq!(
        run.stdout, "2.0 is staged in slot b\n2.0 boots next, on trial\nRebooting into 2.0\n",
        "{}",
        run.stderr
    );
    assert!(reboots(&tree));
    assert_eq!(tree.boot_with_initrd("2.0"), "edge_2.0+2-1.efi");
    tree.abide(&["commit", "--now"]).ok();
    assert_eq!(tree.abide(&["update"]).ok().stdout, "Up to date\n");
    assert!(!reboots(&tree));
    feed.publish("3.0", "a");
    tree.abide(&["update"]).ok();
    assert_eq!(tree.boot_with_initrd("3.0"), "edge_3.0+2-1.efi");
}

#[test]
fn nothing_is_installed_while_the_running_system_is_on_trial() {
    let feed = Feed::new();
    let mut tree = machine(&feed);
    feed.publish("2.0", "b");
    tree.abide(&["update"]).ok();
    tree.boot_with_initrd("2.0");
    feed.publish("3.0", "a");
    feed.asked();
    let run = tree.abide(&["update"]).ok();
    assert_eq!(run.stdout, "Waiting for current image to finish testing before updating again\n");
    assert!(!feed.asked().iter().any(|path| path.contains("3.0")));
    assert!(!reboots(&tree));
    let status = tree.status();
    assert_eq!(status["update"]["subStatus"], "UPDATE_TESTING");
    assert_eq!(
        status["feed"]["waiting"],
        "Waiting for current image to finish testing before updating again"
    );
    tree.abide(&["commit", "--now"]).ok();
    assert!(tree.abide(&["update"]).ok().stdout.starts_with("3.0 is staged in slot a\n"));
}

#[test]
fn a_failed_version_is_not_installed_again_until_it_is_forgotten() {
    let feed = Feed::new();
    let mut tree = machine(&feed);
    feed.publish("2.0", "b");
    tree.abide(&["update"]).ok();
    tree.boot_with_initrd("2.0");
    tree.abide(&["rollback", "--reason", "it smells"]).ok();
    tree.boot_with_initrd("1.0");
    feed.asked();
    for _ in 0..2 {
        let failed =
            "Nothing to install: 2.0: it failed on this machine; `abide forget` allows another attempt\n";
        assert_eq!(tree.abide(&["update"]).ok().stdout, failed);
        assert!(!feed.asked().iter().any(|path| path.ends_with(".zst")));
    }
    assert_eq!(words(&tree).0, "FAILED");
    tree.abide(&["forget", "2.0"]).ok();
    assert_eq!(tree.abide(&["update", "--check"]).ok().stdout, "2.0 is available\n");
    feed.publish("2.1", "b");
    assert_eq!(tree.abide(&["update", "--check"]).ok().stdout, "2.1 is available\n");
    tree.abide(&["update"]).ok();
    assert_eq!(tree.boot_with_initrd("2.1"), "edge_2.1+2-1.efi");
}

#[test]
fn a_failed_version_is_retried_after_a_while_where_configured() {
    let feed = Feed::new();
    let mut tree = machine(&feed);
    feed.configure(&tree, "retry_failed = '1h'");
    feed.publish("2.0", "b");
    tree.abide(&["update"]).ok();
    tree.boot_with_initrd("2.0");
    tree.abide(&["rollback", "--reason", "it smells"]).ok();
    tree.boot_with_initrd("1.0");
    assert!(tree.abide(&["update"]).ok().stdout.contains("next attempt from"));
    let mut state = tree.state();
    state.failures[0].time = "2020-01-01T00:00:00Z".into();
    tree.save(&state);
    let run = tree.abide(&["update"]).ok();
    assert!(run.stdout.starts_with("2.0 is staged"), "{run:?}");
    assert_eq!(tree.boot_with_initrd("2.0"), "edge_2.0+2-1.efi");
    // Once more: the record counts.
    tree.abide(&["rollback", "--reason", "it still smells"]).ok();
    tree.boot_with_initrd("1.0");
    assert!(tree.abide(&["update"]).ok().stdout.contains("next attempt from"));
    assert_eq!(tree.state().failures[0].times, 2);
    let mut state = tree.state();
    state.failures[0].time = "2020-01-01T00:00:00Z".into();
    tree.save(&state);
    tree.abide(&["update"]).ok();
    tree.boot_with_initrd("2.0");
    tree.abide(&["commit", "--now"]).ok();
    assert_eq!((tree.state().failures, tree.status()["failures"].clone()), (vec![], serde_json::json!([])));
}

#[test]
fn a_target_allows_a_downgrade_down_to_the_floor() {
    let feed = Feed::new();
    let mut tree = machine(&feed);
    feed.publish("2.0", "b");
    feed.publish("1.5", "a");
    feed.publish("0.9", "b");
    tree.abide(&["update"]).ok();
    tree.boot_with_initrd("2.0");
    tree.abide(&["commit", "--now"]).ok();
    feed.configure(&tree, "target = '1.5'\nfloor = '1.0'");
    assert_eq!(tree.abide(&["update", "--check"]).ok().stdout, "1.5 is older than the running version\n");
    tree.abide(&["update"]).ok();
    assert_eq!(tree.boot_with_initrd("1.5"), "edge_1.5+2-1.efi");
    tree.abide(&["commit", "--now"]).ok();
    feed.configure(&tree, "target = '0.9'\nfloor = '1.0'");
    let run = tree.abide(&["update"]).ok();
    assert!(run.stdout.contains("older than the floor"), "{}", run.stdout);
    assert!(!reboots(&tree));
}

#[test]
fn a_pinned_machine_installs_nothing() {
    let feed = Feed::new();
    let tree = machine(&feed);
    feed.publish("2.0", "b");
    assert_eq!(tree.abide(&["update", "--pin"]).ok().stdout, "Pinned to 1.0, until `abide update --unpin`\n");
    let run = tree.abide(&["update"]).ok();
    assert!(run.stdout.contains("Pinned to 1.0"), "{}", run.stdout);
    assert_eq!(tree.status()["feed"]["pinned"], "1.0");
    tree.abide(&["update", "--unpin"]).ok();
    assert!(tree.abide(&["update"]).ok().stdout.starts_with("2.0 is staged"));
}

#[test]
fn a_feed_can_be_a_folder_of_this_machine() {
    let feed = Feed::new();
    let tree = machine(&feed);
    feed.publish("2.0", "b");
    fs::rename(feed.path(""), tree.path("images")).unwrap();
    fs::write(tree.path("etc/abide/abide.toml"), "[update]\nfeed = '/images'\n").unwrap();
    assert!(tree.abide(&["update"]).ok().stdout.contains("Rebooting into 2.0"));
    assert!(feed.asked().is_empty());
    assert!(reboots(&tree));
}

#[test]
fn download_only_ends_in_the_slot() {
    let feed = Feed::new();
    let tree = machine(&feed);
    feed.publish("2.0", "b");
    let run = tree.abide(&["update", "--download-only"]).ok();
    assert_eq!(run.stdout, "2.0 is staged in slot b\n2.0: Downloaded and verified\n");
    assert_eq!(words(&tree).0, "DOWNLOAD_DONE");
    assert_eq!(tree.entries(), ["edge_1.0.efi"]);
    assert!(!reboots(&tree));
    // What is in the slot is not fetched again.
    feed.asked();
    assert!(tree.abide(&["update"]).ok().stdout.contains("Rebooting"));
    assert_eq!(feed.asked(), ["/SHA256SUMS"]);
}

#[test]
fn without_a_feed_there_is_nothing_to_do() {
    let tree = Tree::running("1.0");
    let run = tree.abide(&["update"]).fails(5);
    assert!(run.stderr.contains("no feed is configured"), "{}", run.stderr);
    for run in units(&tree) {
        assert_eq!((run.ok().stdout, tree.path("var").exists()), (String::new(), false));
    }
    assert_eq!(tree.status()["feed"], serde_json::Value::Null);
}

#[test]
fn an_update_that_the_loader_does_not_boot_is_given_up() {
    let feed = Feed::new();
    let mut tree = machine(&feed);
    feed.configure(&tree, "download_spread = 0");
    feed.publish("2.0", "b");
    units(&tree);
    assert!(reboots(&tree));
    let mut count = 1;
    for _ in 0..5 {
        // Somebody chooses the old system in the menu, each time.
        tree.set_variable("LoaderEntryOneShot", "edge_1.0.efi");
        tree.boot();
        let_time_pass(&tree);
        units(&tree);
        count += usize::from(reboots(&tree));
    }
    assert_eq!(count, 3);
    let waiting = tree.status()["feed"]["waiting"].as_str().unwrap().to_owned();
    assert!(waiting.contains("the boot loader keeps booting another entry"), "{waiting}");
}

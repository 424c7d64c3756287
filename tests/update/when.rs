//! Windows and inhibitors.

use super::*;
use jiff::{Timestamp, ToSpan};

/// A window on the day after tomorrow, and what is said about it.
fn later() -> (String, String) {
    let day = Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC).checked_add(2.days()).unwrap().date();
    (
        format!("[[update.window]]\ndates = ['{day}']\nstart = '02:30'\nlength = '2h'\n"),
        format!("Waiting for the window that opens at {day} 02:30 UTC"),
    )
}

/// A window that is open now.
const OPEN: &str = "[[update.window]]\nstart = '00:00'\nlength = '48h'\n";

#[test]
fn a_closed_window_delays_the_reboot_but_not_the_download() {
    let feed = Feed::new();
    let tree = machine(&feed);
    let (window, sentence) = later();
    feed.publish("2.0", "b");
    feed.configure(&tree, &window);
    let run = tree.abide(&["update"]).ok();
    assert_eq!(run.stdout, format!("2.0 is staged in slot b\n2.0: {sentence}\n"));
    assert_eq!(words(&tree), ("UPDATING".into(), "UPDATE_DEFERRED".into(), sentence.clone()));
    assert_eq!(tree.entries(), ["edge_1.0.efi"]);
    assert!(!reboots(&tree));
    let motd = fs::read_to_string(tree.path("run/motd.d/abide")).unwrap();
    assert_eq!(
        motd,
        format!("Abide: 2.0 is not installed yet: {sentence}.\n`abide status` shows the details.\n")
    );
    let status = tree.abide(&["status"]).ok().stdout;
    assert!(status.contains(&format!("feed     2.0          available: {sentence}")), "{status}");
    // The download is not repeated.
    feed.asked();
    tree.abide(&["update"]).ok();
    assert_eq!(feed.asked(), ["/SHA256SUMS"]);
    feed.configure(&tree, OPEN);
    assert!(tree.abide(&["update"]).ok().stdout.contains("Rebooting into 2.0"));
    assert!(reboots(&tree));
}

#[test]
fn a_closed_window_delays_the_reboot_into_an_applied_update_too() {
    let feed = Feed::new();
    let tree = machine(&feed);
    feed.publish("2.0", "b");
    tree.abide(&["update", "--download-only"]).ok();
    tree.abide(&["apply"]).ok();
    feed.configure(&tree, &later().0);
    assert!(tree.abide(&["update"]).ok().stdout.contains("Waiting for the window"));
    assert!(!reboots(&tree));
    assert!(tree.abide(&["update", "--now"]).ok().stdout.contains("Rebooting into 2.0"));
    assert!(reboots(&tree));
}

#[test]
fn an_inhibitor_is_named_and_delays_the_reboot_for_a_limited_time() {
    let feed = Feed::new();
    let tree = machine(&feed);
    feed.publish("2.0", "b");
    fs::write(tree.path("busy"), "").unwrap();
    let config = format!("{OPEN}[update.inhibit]\nfiles = ['/busy']\nlongest = '1d'\n");
    feed.configure(&tree, &config);
    for _ in 0..2 {
        let run = tree.abide(&["update"]).ok();
        assert!(run.stdout.ends_with("2.0: Waiting: /busy exists\n"), "{}", run.stdout);
    }
    // A day later.
    let path = tree.path("var/lib/abide/update.json");
    let mut plan: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    plan["ready"] = (plan["ready"].as_i64().unwrap() - 24 * 60 * 60).into();
    fs::write(&path, plan.to_string()).unwrap();
    assert!(tree.abide(&["update"]).ok().stdout.contains("Rebooting into 2.0"));
}

#[test]
fn the_machine_reboots_when_no_inhibitor_is_left() {
    let feed = Feed::new();
    let tree = machine(&feed);
    feed.publish("2.0", "b");
    fs::write(tree.path("busy"), "").unwrap();
    feed.configure(&tree, "inhibit = { files = '/busy' }");
    tree.abide(&["update"]).ok();
    assert!(!reboots(&tree));
    fs::remove_file(tree.path("busy")).unwrap();
    tree.abide(&["update"]).ok();
    assert!(reboots(&tree));
}

#[test]
fn a_scheduled_download_waits_for_its_time_and_a_command_does_not() {
    let feed = Feed::new();
    let tree = machine(&feed);
    feed.publish("2.0", "b");
    feed.configure(&tree, &format!("download_spread = '10w'\n{}", later().0));
    for run in units(&tree) {
        run.ok();
    }
    assert!(!feed.asked().iter().any(|path| path.ends_with(".zst")));
    let until = tree.status()["feed"]["until"].as_str().unwrap().parse::<Timestamp>().unwrap();
    let day = Timestamp::now().checked_add(48.hours()).unwrap();
    assert!(until < day, "before the window: {until}");
    assert_eq!(words(&tree).2, "Waiting for the scheduled time of the download");
    tree.abide(&["update"]).ok();
    assert!(feed.asked().iter().any(|path| path.ends_with(".zst")));
}

#[test]
fn a_clock_that_was_years_ahead_delays_nothing() {
    let feed = Feed::new();
    let tree = machine(&feed);
    fs::create_dir_all(tree.path("proc")).unwrap();
    fs::write(tree.path("proc/uptime"), "100000.00 1.0\n").unwrap();
    feed.configure(&tree, &format!("download_spread = '1h'\ninterval = '1h'\n{OPEN}"));
    feed.publish("2.0", "b");
    tree.abide(&["update", "--check"]).ok();
    let path = tree.path("var/lib/abide/feed/feed.json");
    let mut seen: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    seen["tried"] = 9_999_999_999_u64.into();
    seen["wanted"]["found"] = 9_999_999_999_u64.into();
    fs::write(&path, seen.to_string()).unwrap();
    feed.asked();
    for run in units(&tree) {
        run.ok();
    }
    assert_eq!(feed.asked(), ["/SHA256SUMS", "/edge_2.0.raw.zst"]);
    assert!(reboots(&tree));
}

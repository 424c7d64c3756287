//! A machine that follows its feed by itself, by its own units: no command writes, applies or reboots.

use std::time::Instant;

use abide_testing::skip::skipped;
use serde_json::Value;

use crate::support::edge::{Edge, PATIENCE};
use crate::support::feed::Feed;

/// What the feed's server was asked for, by file.
fn asked(edge: &Edge, file: &str) -> usize {
    edge.server.requests().iter().filter(|request| request.ends_with(&format!("/{file}"))).count()
}

/// What the units have said.
fn journal(edge: &mut Edge) -> String {
    edge.run("systemctl list-timers --all --no-pager; journalctl --no-pager -b -u 'abide-update*' -u abide-install | tail -n 80")
        .text
}

/// Waits until the feed was looked at `times` times more.
#[track_caller]
fn wait_for_polls(edge: &mut Edge, times: usize) {
    let (before, deadline) = (asked(edge, "SHA256SUMS"), Instant::now() + PATIENCE);
    while asked(edge, "SHA256SUMS") < before + times {
        assert!(Instant::now() < deadline, "{:?}\n{}", edge.server.requests(), journal(edge));
        edge.status();
    }
}

/// Waits until the machine runs `version` for good.
#[track_caller]
fn wait_for(edge: &mut Edge, version: &str) -> Value {
    assert_eq!(edge.next_boot().version, version);
    let status = edge.wait_for_commit();
    assert_eq!(status["update"]["version"], version, "{status:#}");
    status
}

/// Waits until a version that is bad was tried and given up, and that it is left alone then.
#[track_caller]
fn wait_for_rollback(edge: &mut Edge, from: &str, to: &str) {
    assert_eq!(edge.next_boot().version, from);
    assert_eq!(edge.next_boot().version, to);
    let failure = edge.failure(from);
    assert!(failure["reason"].as_str().unwrap().contains("check 'app'"), "{failure:#}");
    let fetched = asked(edge, &format!("edge_{from}.raw.zst"));
    let boots = edge.boots();
    wait_for_polls(edge, 2);
    assert_eq!(asked(edge, &format!("edge_{from}.raw.zst")), fetched, "{:?}", edge.server.requests());
    let status = edge.status();
    assert_eq!((edge.boots(), &status["update"]["userStatus"]), (boots, &"FAILED".into()), "{status:#}");
}

/// The time of day in so many seconds, by the guest's clock.
fn opens_in(edge: &mut Edge, seconds: u32) -> String {
    edge.ok(&format!("date -u -d @$(($(date +%s) + {seconds})) +%H:%M")).trim().to_owned()
}

fn window(opens: &str) -> String {
    format!("[[update.window]]\nstart = '{opens}'\nlength = '1h'\n")
}

#[test]
fn a_machine_follows_its_feed_by_itself_and_reboots_in_its_window_only() {
    let feed = Feed::new();
    feed.publish("2.0", "ok");
    let mut edge = Edge::running("feed", "1.0");
    let late = window(&opens_in(&mut edge, 36_000));
    feed.followed_by(&mut edge, &late);

    // The power is cut in the middle of the download.
    edge.server.stall_after(40 << 20);
    if !edge.server.wait_for_stall(PATIENCE) {
        panic!("the download does not begin: {:?}\n{}", edge.server.requests(), journal(&mut edge));
    }
    let status = edge.wait_for_status("the download", |status| status["update"]["subStatusProgress"] != 0);
    assert_eq!(status["update"]["userStatus"], "DOWNLOADING", "{status:#}");
    let mut edge = edge.power_cycle(|_| {});
    edge.server.go_on();
    assert_eq!(edge.next_boot().version, "1.0");
    edge.forget_boots();
    edge.ok("timeout 300 sh -c 'until mountpoint -q /var/lib/abide; do sleep 0.2; done'");
    let opens = opens_in(&mut edge, 600);
    feed.configure(&mut edge, &window(&opens));

    // The download resumes by itself, and the update then waits for the window.
    let waits = "Waiting for the window that opens at ";
    let status = edge.wait_for_status("the window", |status| {
        let said = status["update"]["subStatusStr"].as_str().unwrap_or_default();
        said.starts_with(waits) && said.contains(&opens)
    });
    assert_eq!(status["update"]["subStatus"], "UPDATE_DEFERRED", "{status:#}");
    assert_eq!(status["slots"][1]["version"], "2.0", "{status:#}");
    assert_eq!(edge.entries(), ["edge_1.0.efi"]);
    let ranges = edge.server.ranges();
    let resumed =
        ranges.first().and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok());
    assert!(resumed.is_some_and(|from: u64| from >= 16 << 20), "{ranges:?}");
    // A connection that breaks before its first byte has come begins anew.
    assert_eq!(ranges.len(), 1, "{:?}", edge.server.requests());
    // Told and planned once everything else is done.
    let told = "timeout 300 sh -c 'until grep -F abide_update_available /var/lib/abide/abide.prom; do sleep 0.2; done'";
    assert_eq!(edge.ok(told).lines().last(), Some("abide_update_available{version=\"2.0\"} 1"));
    let planned =
        "timeout 300 sh -c 'until systemctl -q is-active abide-update-next.timer; do sleep 0.2; done'";
    assert!(edge.run(planned).success(), "the next step is not planned:\n{}", journal(&mut edge));
    wait_for_polls(&mut edge, 1);
    assert_eq!(edge.boots(), 0, "it reboots in its window only");

    // The window opens.
    edge.vm.send("date -s @$(($(date +%s) + 600))").unwrap();
    wait_for(&mut edge, "2.0");
    // The downloader has run in this boot, too, and has ended.
    let unit = "abide-update.service";
    let ran = format!(
        "timeout 300 sh -c 'until journalctl -b -o verbose -u {unit} | grep -q _UID=[1-9] && \
         ! systemctl -q is-active {unit} && test $(stat -c %U /var/lib/abide/feed) = root; do sleep 0.5; done'"
    );
    assert!(edge.run(&ran).success(), "no part of it is another user's:\n{}", journal(&mut edge));

    // Half a dozen boots more, each after a minute's wait.
    if std::env::var("ABIDE_FEED_LIFE").is_err() {
        return skipped("a feed's later releases, good and bad", "ABIDE_FEED_LIFE=all has them");
    }
    feed.configure(&mut edge, "");
    feed.publish("3.0", "ok");
    wait_for(&mut edge, "3.0");
    feed.publish("4.0", "failing-unit");
    wait_for_rollback(&mut edge, "4.0", "3.0");
    feed.publish("4.1", "ok");
    wait_for(&mut edge, "4.1");
    feed.configure(&mut edge, "target = '2.0'");
    wait_for(&mut edge, "2.0");
    wait_for_polls(&mut edge, 1);
    assert_eq!(edge.status()["update"]["version"], "2.0");
}

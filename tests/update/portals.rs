//! Captive portals, which answer everything with success.

use abide_testing::scripted::answer;

use super::*;

const PAGE: &[u8] = b"<!DOCTYPE html><html><body>Please log in</body></html>";

/// A portal that answers so to everything.
fn portal(status: &'static str, headers: &'static [&'static str], body: &'static [u8]) -> Scripted {
    Scripted::new(move |_| answer(status, headers, body))
}

#[test]
fn the_success_of_a_portal_is_no_reboot_lock() {
    let feed = Feed::new();
    feed.publish("2.0", "b");
    for (server, is_granted) in [
        (portal("200 OK", &["Content-Type: text/html"], PAGE), false),
        (portal("200 OK", &[], PAGE), false),
        (portal("302 Found", &["Location: /login", "Content-Length: 0"], b""), false),
        (portal("200 OK", &["Content-Type: application/captive+json"], b"{\"captive\":true}"), false),
        (portal("200 OK", &["Content-Type: text/plain"], b"Welcome"), false),
        (portal("200 OK", &["Content-Length: 2"], b"OK"), false),
        (portal("200 OK", &["Content-Length: 0"], b""), true),
        (portal("200 OK", &["Content-Type: text/plain"], b"obtained reboot lease"), true),
    ] {
        let tree = machine(&feed);
        let lock = format!("download_spread = 0\n[update.fleetlock]\nurl = '{}'\nid = 'n'\n", server.url(""));
        feed.configure(&tree, &lock);
        let run = tree.abide(&["update"]).ok();
        assert_eq!(reboots(&tree), is_granted, "{run:?}");
        let waiting = tree.status()["feed"]["waiting"].as_str().unwrap_or_default().to_owned();
        assert_eq!(waiting.contains("no reply from the FleetLock server"), !is_granted, "{waiting}");
        let asked = server.asked();
        assert!(asked.iter().all(|asked| asked.method == "POST"), "{asked:?}");
    }
}

#[test]
fn an_event_that_a_portal_took_waits_for_the_server() {
    let feed = Feed::new();
    feed.publish("2.0", "b");
    let tree = machine(&feed);
    let events = || fs::read_dir(tree.path("var/lib/abide/reports")).unwrap().count();
    let page = portal("200 OK", &["Content-Type: text/html"], PAGE);
    feed.configure(&tree, &format!("[report]\nurl = '{}'\n", page.url("")));
    tree.abide(&["update"]).ok();
    let count = events();
    assert!(count > 0);
    let run = tree.abide(&["report"]).fails(1);
    assert!(run.stderr.contains("web page: a captive portal"), "{}", run.stderr);
    assert_eq!(events(), count);
    // A short text of a server that calls it HTML is not a page.
    let server = portal("200 OK", &["Content-Type: text/html; charset=utf-8", "Content-Length: 2"], b"ok");
    feed.configure(&tree, &format!("[report]\nurl = '{}'\n", server.url("")));
    tree.abide(&["report"]).ok();
    assert_eq!(events(), 0);
}

//! Servers without an end, without haste, and with a password.

use std::io::Write;
use std::net::TcpListener;
use std::time::{Duration, Instant};

use abide_testing::scripted::{answer, whole};

use super::*;

const IMAGE: &str = "edge_2.0.raw.zst";

/// A server of what was published, but for the image.
fn server(feed: &Feed, image: impl Fn(&Asked) -> Vec<u8> + Send + 'static) -> Scripted {
    let folder = feed.path("");
    Scripted::new(move |asked| {
        let name = asked.target.trim_start_matches('/').to_owned();
        match fs::read(folder.join(&name)) {
            Ok(_) if name == IMAGE => image(asked),
            Ok(bytes) => whole(&bytes),
            Err(_) => answer("404 Not Found", &["Content-Length: 0"], b""),
        }
    })
}

fn configure(tree: &Tree, url: &str, download: &str) {
    let text = format!("[update]\nfeed = '{url}'\n[download]\ngive_up_after = '0s'\n{download}\n");
    fs::write(tree.path("etc/abide/abide.toml"), text).unwrap();
}

/// The files of the cache that are not lists.
fn fetched(tree: &Tree) -> Vec<String> {
    let names = fs::read_dir(tree.path("var/lib/abide/feed")).unwrap();
    let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.ends_with(".part") || name.starts_with("edge_")).collect()
}

#[test]
fn a_download_beyond_its_bound_stops_and_leaves_nothing() {
    let feed = Feed::new();
    let published = feed.publish("2.0", "b").zst();
    let tree = machine(&feed);
    let endless = vec![7; 1 << 20];
    for image in [answer("200 OK", &[], &endless), whole(&endless)] {
        let server = server(&feed, move |_| image.clone());
        configure(&tree, &server.url(""), "max_size = '200K'");
        let run = tree.abide(&["update"]).fails(3);
        assert!(run.stderr.contains(&format!("{IMAGE}: ")), "{}", run.stderr);
        assert!(run.stderr.contains("is larger than 204800 bytes"), "{}", run.stderr);
        assert!(run.stderr.contains("what was fetched of it is removed"), "{}", run.stderr);
        assert_eq!(fetched(&tree), [""; 0]);
    }
    // The same for a file that goes straight into the slot.
    let server = server(&feed, move |_| answer("200 OK", &[], &published));
    let run = tree.abide(&["write", &server.url(IMAGE)]).fails(3);
    assert!(run.stderr.contains("is larger than 204800 bytes"), "{}", run.stderr);
}

/// A server that sends the image's header, and then a byte each tenth of a second.
fn dripping(feed: &Feed) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let folder = feed.path("");
    std::thread::spawn(move || {
        use std::io::{BufRead, BufReader};
        for mut stream in listener.incoming().flatten() {
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
            let first = lines.next().unwrap().unwrap();
            let name = first.split(' ').nth(1).unwrap().trim_matches('/').to_owned();
            while lines.next().is_some_and(|line| !line.unwrap().is_empty()) {}
            let Ok(bytes) = fs::read(folder.join(&name)) else {
                stream.write_all(&answer("404 Not Found", &["Content-Length: 0"], b"")).unwrap();
                continue;
            };
            if name != IMAGE {
                stream.write_all(&whole(&bytes)).unwrap();
                continue;
            }
            let head = answer("200 OK", &[&format!("Content-Length: {}", bytes.len())], b"");
            stream.write_all(&head).unwrap();
            for byte in bytes {
                std::thread::sleep(Duration::from_millis(100));
                if stream.write_all(&[byte]).is_err() {
                    break;
                }
            }
        }
    });
    url
}

#[test]
fn a_byte_now_and_then_does_not_keep_a_download_alive() {
    let feed = Feed::new();
    feed.publish("2.0", "b");
    for (download, reason) in [
        ("", "the server is slower than min_rate, 1024 bytes per second"),
        ("min_rate = 0\nmax_time = '2s'", "the download takes longer than max_time (2s)"),
    ] {
        let tree = machine(&feed);
        configure(&tree, &dripping(&feed), download);
        let started = Instant::now();
        let run = tree.abide(&["update"]).fails(3);
        assert!(run.stderr.contains(reason), "{}", run.stderr);
        assert!(started.elapsed() < Duration::from_secs(30));
        // The next run resumes it, at the server's pace.
        assert_eq!(fetched(&tree).len(), 1);
    }
}

#[test]
fn the_password_of_a_feed_is_in_a_file_of_its_own() {
    let feed = Feed::new();
    feed.publish("2.0", "b");
    let folder = feed.path("");
    let server = Scripted::new(move |asked| {
        // fleet:secret
        if asked.header("authorization") != Some("Basic ZmxlZXQ6c2VjcmV0") {
            return answer("401 Unauthorized", &["Content-Length: 0"], b"");
        }
        match fs::read(folder.join(asked.target.trim_start_matches('/'))) {
            Ok(bytes) => whole(&bytes),
            Err(_) => answer("404 Not Found", &["Content-Length: 0"], b""),
        }
    });
    let tree = machine(&feed);
    let text = format!("[update]\nfeed = '{}'\nfeed_auth = '/etc/abide/feed.auth'\n", server.url(""));
    fs::write(tree.path("etc/abide/abide.toml"), text).unwrap();
    tree.abide(&["update"]).fails(2);
    let secret = tree.path("etc/abide/feed.auth");
    fs::write(&secret, "fleet:secret\n").unwrap();
    let mode =
        |mode| fs::set_permissions(&secret, std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
    mode(0o644);
    let run = tree.abide(&["update"]).fails(2);
    assert!(run.stderr.contains("others can access the token"), "{}", run.stderr);
    mode(0o600);
    tree.abide(&["update"]).ok();
    assert!(reboots(&tree));
    fs::write(&secret, "fleet:wrong").unwrap();
    let run = tree.abide(&["-vv", "update", "--check"]).fails(3);
    assert!(run.stderr.contains("401") && !run.stderr.contains("wrong"), "{}", run.stderr);
}

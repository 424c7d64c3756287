//! What was fetched is kept until something at least as good has come, and what cannot be had is not asked for again and
//! again.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use abide_testing::scripted::{answer, whole};

use super::*;

const IMAGE: &str = "edge_2.0.raw.zst";
const PAGE: &[u8] = b"<!DOCTYPE html><html><title>Hotel</title>Please accept our terms.</html>";

type Script = Arc<Mutex<Box<dyn Fn(&Asked, &[u8]) -> Vec<u8> + Send>>>;

/// A feed of 2.0 whose server answers requests for the image as the test says.
struct Odd {
    feed: Feed,
    server: Scripted,
    script: Script,
    tree: Tree,
    bytes: Vec<u8>,
}

impl Odd {
    fn new() -> Self {
        let feed = Feed::new();
        let bytes = feed.publish("2.0", "b").zst();
        let script: Script = Arc::new(Mutex::new(Box::new(|_, file| whole(file))));
        let (folder, said) = (feed.path(""), Arc::clone(&script));
        let server = Scripted::new(move |asked| {
            let name = asked.target.trim_start_matches('/').to_owned();
            match fs::read(folder.join(&name)) {
                Ok(bytes) if name == IMAGE => said.lock().unwrap()(asked, &bytes),
                Ok(bytes) => whole(&bytes),
                Err(_) if name == "login" => answer("200 OK", &["Content-Type: text/html"], PAGE),
                Err(_) => answer("404 Not Found", &["Content-Length: 0"], b""),
            }
        });
        let tree = machine(&feed);
        let it = Self { feed, server, script, tree, bytes };
        it.configure("");
        it
    }

    fn configure(&self, more: &str) {
        let text = format!(
            "[update]\nfeed = '{}'\ndownload_spread = 0\ninterval = '1h'\njitter = 0\n\
             [download]\ngive_up_after = '0s'\n{more}\n",
            self.server.url("")
        );
        fs::write(self.tree.path("etc/abide/abide.toml"), text).unwrap();
    }

    fn answers(&self, script: impl Fn(&Asked, &[u8]) -> Vec<u8> + Send + 'static) {
        *self.script.lock().unwrap() = Box::new(script);
    }

    fn part(&self) -> PathBuf {
        self.tree.path(&format!("var/lib/abide/feed/{}.part", abide_testing::tree::digest(&self.bytes)))
    }

    /// Has the machine fetch the first bytes.
    fn fetch_first(&self, count: usize) {
        self.answers(move |_, file| {
            let len = format!("Content-Length: {}", file.len());
            answer("200 OK", &[&len, "ETag: \"one\""], &file[..count])
        });
        self.tree.abide(&["update"]).fails(3);
        assert_eq!(self.fetched(), self.bytes[..count]);
    }

    /// Changes a file of the cache.
    fn in_cache(&self, name: &str, change: impl Fn(&str) -> String) {
        let file = self.tree.path("var/lib/abide/feed").join(name);
        let text = fs::read_to_string(&file).unwrap();
        let changed = change(&text);
        assert_ne!(changed, text, "{name}");
        fs::write(file, changed).unwrap();
    }

    fn fetched(&self) -> Vec<u8> {
        fs::read(self.part()).unwrap_or_default()
    }

    /// How often the image was requested.
    fn requests(&self) -> usize {
        self.server.asked().iter().filter(|asked| asked.target.ends_with(IMAGE)).count()
    }
}

fn range(asked: &Asked, file: &[u8], len: &str, tag: &str) -> Vec<u8> {
    let first = asked.start();
    let range = format!("Content-Range: bytes {first}-{}/{len}", file.len() - 1);
    answer("206 Partial Content", &[&range, &format!("ETag: \"{tag}\"")], &file[first..])
}

#[test]
fn no_answer_that_is_not_the_file_costs_a_byte_of_what_was_fetched() {
    type Answer = fn(&Asked, &[u8]) -> Vec<u8>;
    let odd = Odd::new();
    odd.fetch_first(300_000);
    let answers: [(&str, Answer); 10] = [
        ("a captive portal", |_, _| answer("200 OK", &["Content-Type: text/html"], PAGE)),
        ("a captive portal", |_, _| answer("200 OK", &[], PAGE)),
        ("a captive portal", |_, _| {
            answer("200 OK", &["Content-Type: text/html", &format!("Content-Length: {}", PAGE.len())], PAGE)
        }),
        ("a captive portal", |_, _| answer("302 Found", &["Location: /login", "Content-Length: 0"], b"")),
        ("another length", |_, _| whole(b"short")),
        ("another length", |_, file| whole(&[file, b"longer"].concat())),
        ("another length", |asked, file| range(asked, &file[..310_000], "310000", "two")),
        ("another length", |_, _| answer("416 Range Not Satisfiable", &["Content-Range: bytes */5"], b"")),
        ("404", |_, _| answer("404 Not Found", &["Content-Length: 0"], b"")),
        ("204", |_, _| answer("204 No Content", &[], b"")),
    ];
    for (words, script) in answers {
        odd.answers(script);
        // After some failures the file of another length is tried, beside what was fetched.
        for _ in 0..5 {
            let run = odd.tree.abide(&["update"]);
            assert!([3, 7].contains(&run.code) && run.stderr.contains(words), "{words}: {run:?}");
            assert_eq!(odd.fetched(), odd.bytes[..300_000], "{words}");
        }
    }
    odd.answers(|asked, file| range(asked, file, &file.len().to_string(), "one"));
    odd.tree.abide(&["update"]).ok();
    assert!(reboots(&odd.tree));
}

#[test]
fn mirrors_with_other_validators_give_one_file() {
    let odd = Odd::new();
    odd.configure("");
    odd.fetch_first(100_000);
    for (from, len) in [(200_000, "*"), (300_000, "")] {
        odd.answers(move |asked, file| {
            let len = if len.is_empty() { file.len().to_string() } else { len.to_owned() };
            let mut bytes = range(asked, file, &len, &from.to_string());
            bytes.truncate(bytes.len() - (file.len() - from));
            bytes
        });
        odd.tree.abide(&["update"]).fails(3);
        assert_eq!(odd.fetched(), odd.bytes[..from]);
    }
    odd.answers(|asked, file| {
        assert_eq!(asked.header("if-range"), None);
        range(asked, file, "*", "last")
    });
    let before = odd.requests();
    odd.tree.abide(&["update"]).ok();
    assert_eq!(odd.requests() - before, 1);
}

#[test]
fn parts_that_do_not_fit_together_are_fetched_again_once() {
    let odd = Odd::new();
    odd.fetch_first(300_000);
    // A mirror with another build of the same length.
    odd.answers(|asked, file| {
        let other: Vec<u8> = file.iter().map(|byte| byte ^ 1).collect();
        if asked.start() > 0 { range(asked, &other, &file.len().to_string(), "two") } else { whole(file) }
    });
    let before = odd.requests();
    let run = odd.tree.abide(&["update"]).ok();
    assert_eq!(odd.requests() - before, 2);
    assert!(run.stderr.contains("starting over"), "{}", run.stderr);
    // Where the other build is everywhere, that is a failure after one more attempt.
    let odd = Odd::new();
    odd.fetch_first(300_000);
    odd.answers(|asked, file| {
        let other: Vec<u8> = file.iter().map(|byte| byte ^ 1).collect();
        if asked.start() > 0 { range(asked, &other, &file.len().to_string(), "two") } else { whole(&other) }
    });
    let before = odd.requests();
    odd.tree.abide(&["update"]).fails(7);
    assert_eq!(odd.requests() - before, 2);
}

/// Lets so many seconds pass for what the machine remembers, and makes the next poll due.
pub fn pass(tree: &Tree, seconds: i64) {
    for (file, keys) in [
        ("var/lib/abide/feed/feed.json", &["/tried", "/polled", "/wanted/found", "/attempts/failed"][..]),
        ("var/lib/abide/update.json", &["/ready", "/until"][..]),
    ] {
        let path = tree.path(file);
        let Ok(bytes) = fs::read(&path) else { continue };
        let mut state: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
        for key in keys {
            if let Some(value) = state.pointer_mut(key)
                && let Some(time) = value.as_i64()
            {
                *value = if *key == "/tried" { 0 } else { time - seconds }.into();
            }
        }
        fs::write(path, state.to_string()).unwrap();
    }
}

/// A day of looks at the list, one every 40 minutes; returns how often the image was requested.
fn day(odd: &Odd) -> usize {
    let before = odd.requests();
    for _ in 0..36 {
        for part in ["--survey", "--fetch"] {
            odd.tree.abide(&["update", part]);
        }
        pass(&odd.tree, 2400);
    }
    odd.requests() - before
}

#[test]
fn a_damaged_or_missing_image_is_requested_ever_more_rarely() {
    type Answer = fn(&Asked, &[u8]) -> Vec<u8>;
    let damaged: Answer = |_, file| whole(&file.iter().map(|byte| byte ^ 1).collect::<Vec<_>>());
    let missing: Answer = |_, _| answer("404 Not Found", &["Content-Length: 0"], b"");
    for script in [damaged, missing] {
        let odd = Odd::new();
        odd.answers(script);
        let requests = day(&odd);
        // Each at the first look after the delay of 2, 4, 8 … minutes, instead of 36 times.
        assert!((7..=10).contains(&requests), "{requests}");
        let looks = odd.server.asked().iter().filter(|asked| asked.target == "/SHA256SUMS").count();
        assert_eq!(looks, 36);
        let waiting = odd.tree.abide(&["update", "--survey"]).ok();
        assert_eq!(waiting.code, 0);
        odd.tree.abide(&["update", "--install"]).ok();
        let status = odd.tree.status();
        let why = status["feed"]["waiting"].as_str().unwrap();
        assert!(why.contains("The download failed and is tried again later"), "{why}");
        assert!(status["feed"]["error"].as_str().unwrap().contains("edge_2.0"), "{status}");
        // Another release does not wait.
        odd.answers(|_, file| whole(file));
        odd.feed.publish("2.1", "b");
        for part in ["--survey", "--fetch"] {
            odd.tree.abide(&["update", part]).ok();
        }
        assert!(odd.tree.path("var/lib/abide/feed/edge_2.1.raw.zst").exists());
    }
}

#[test]
fn a_server_that_asks_for_a_pause_gets_it() {
    let odd = Odd::new();
    odd.configure("");
    let text = fs::read_to_string(odd.tree.path("etc/abide/abide.toml")).unwrap();
    let patient = text.replace("give_up_after = '0s'", "give_up_after = '10s'");
    fs::write(odd.tree.path("etc/abide/abide.toml"), patient).unwrap();
    let (asked, started) = (Arc::new(AtomicUsize::new(0)), std::time::Instant::now());
    odd.answers(move |request, file| match asked.fetch_add(1, Ordering::Relaxed) {
        0 => answer("200 OK", &[&format!("Content-Length: {}", file.len())], &file[..1000]),
        1 => answer("429 Too Many Requests", &["Retry-After: 2", "Content-Length: 0"], b""),
        _ => range(request, file, &file.len().to_string(), "one"),
    });
    odd.tree.abide(&["update"]).ok();
    assert!(started.elapsed() >= std::time::Duration::from_secs(2));
    assert_eq!(odd.requests(), 3);
}

#[test]
fn a_list_that_is_a_web_page_is_told_as_such() {
    let portal = Scripted::new(|_| answer("200 OK", &["Content-Type: text/html"], PAGE));
    let tree = Tree::running("1.0");
    fs::create_dir_all(tree.path("etc/abide")).unwrap();
    fs::write(tree.path("etc/abide/abide.toml"), format!("[update]\nfeed = '{}'\n", portal.url(""))).unwrap();
    let run = tree.abide(&["update"]).fails(3);
    assert!(run.stderr.contains("web page: a captive portal"), "{}", run.stderr);
    assert_eq!(portal.asked().len(), 1);
}

#[test]
fn a_wrong_first_length_costs_nothing_but_its_own_bytes() {
    let odd = Odd::new();
    odd.answers(|_, _| {
        answer("200 OK", &["Content-Length: 1000", "Content-Type: application/octet-stream"], &[b'x'; 50])
    });
    odd.tree.abide(&["update"]).fails(3);
    assert_eq!(odd.fetched(), [b'x'; 50]);
    // The server itself is back, on a line that breaks again and again.
    let step = odd.bytes.len() / 4 + 1;
    odd.answers(move |asked, file| {
        let first = asked.start();
        let mut bytes = range(asked, file, &file.len().to_string(), "one");
        if first == 0 {
            bytes = whole(file);
        }
        bytes.truncate(bytes.len() - file.len().saturating_sub(first + step));
        bytes
    });
    let mut most = 0;
    for _ in 0..5 {
        for part in ["--survey", "--fetch", "--install", "--boot"] {
            odd.tree.abide(&["update", part]);
        }
        // What has come is never lost, whatever came first.
        let now = odd.fetched().len();
        assert!(now >= most || reboots(&odd.tree), "{now} after {most}");
        most = now.max(most);
        pass(&odd.tree, 24 * 3600);
    }
    for _ in 0..4 {
        if odd.tree.status()["slots"][1]["version"] == "2.0" {
            return;
        }
        for part in ["--survey", "--fetch", "--install"] {
            odd.tree.abide(&["update", part]);
        }
        pass(&odd.tree, 24 * 3600);
    }
    panic!("{most} bytes were fetched: {:?}", odd.tree.status());
}

#[test]
fn a_list_that_cannot_be_used_now_deletes_no_download() {
    let damages: [fn(&Odd); 4] = [
        |odd| odd.in_cache("SHA256SUMS.minisig", |text| text.replacen('R', "S", 1)),
        |odd| odd.in_cache("SHA256SUMS", |_| String::new()),
        |odd| fs::remove_file(odd.tree.path("var/lib/abide/feed/SHA256SUMS")).unwrap(),
        |odd| {
            // It was good until yesterday.
            let (feed, cache) = (&odd.feed, odd.tree.path("var/lib/abide/feed"));
            feed.put("BEST-BEFORE-2020-01-01", b"");
            feed.list();
            for name in ["SHA256SUMS", "SHA256SUMS.minisig"] {
                fs::copy(feed.path(name), cache.join(name)).unwrap();
            }
            fs::remove_file(feed.path("BEST-BEFORE-2020-01-01")).unwrap();
            feed.list();
        },
    ];
    for (number, damage) in damages.into_iter().enumerate() {
        let odd = Odd::new();
        odd.fetch_first(300_000);
        damage(&odd);
        // The next poll is not due, and the server is away: the list is asked for at once.
        odd.server.asked();
        for part in ["--survey", "--fetch"] {
            odd.tree.abide(&["update", part]);
        }
        assert_eq!(odd.fetched(), odd.bytes[..300_000], "{number}");
        assert!(odd.server.asked().iter().any(|asked| asked.target == "/SHA256SUMS"), "{number}");
        odd.answers(|asked, file| range(asked, file, &file.len().to_string(), "one"));
        odd.tree.abide(&["update"]).ok();
        assert!(reboots(&odd.tree), "{number}");
    }
}

//! Nodes that follow a feed by patches.

use std::sync::{Arc, LazyLock, Mutex};

use abide_testing::image::noise;
use abide_testing::scripted::answer;
use abide_testing::tree::{cmdline, read};
use abide_testing::uki::uki;

use super::*;

const REGION: usize = 2 << 20;

/// The size of the roots: six regions and a part of one.
const LEN: usize = 6 * REGION + 12_345;

const UKI: &str = "edge_2.0.efi";
const FULL: &str = "edge_2.0.root.raw.zst";
const MAP: &str = "edge_2.0.root.map";
const PATCH: &str = "edge_2.0.root.from-1.0.patch";

/// What 1.0 has as its root.
fn old() -> Vec<u8> {
    noise(LEN, 1)
}

/// What 2.0 has: something put in front of the second half, and one block changed.
fn new() -> Vec<u8> {
    let mut root = old();
    root.splice(3 * REGION + 5000..3 * REGION + 5000, noise(3000, 2));
    root[REGION..REGION + 4096].copy_from_slice(&noise(4096, 3));
    root.truncate(LEN);
    root
}

fn abide_publish(dir: &std::path::Path, words: &[&str]) {
    let mut command = program(env!("CARGO_BIN_EXE_abide"));
    Run::of(command.arg("publish").arg(dir).args(words)).ok();
}

/// The files of 2.0 with a patch from a version 1.0 with this root.
fn published(old: &[u8]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let (out, before) = (dir.path().join("out"), dir.path().join("edge_1.0.root.raw"));
    fs::create_dir(&out).unwrap();
    fs::write(&before, old).unwrap();
    fs::write(out.join("edge_2.0.root.raw"), new()).unwrap();
    fs::write(out.join(UKI), uki("edge", "2.0", &cmdline("b"))).unwrap();
    abide_publish(&out, &["--from", before.to_str().unwrap()]);
    fs::remove_file(out.join("edge_2.0.root.raw")).unwrap();
    dir
}

static PUBLISHED: LazyLock<tempfile::TempDir> = LazyLock::new(|| published(&old()));

fn file(name: &str) -> Vec<u8> {
    fs::read(PUBLISHED.path().join("out").join(name)).unwrap()
}

/// A feed of 2.0 with a patch.
fn feed() -> Feed {
    let feed = Feed::new();
    for name in [UKI, FULL, MAP, PATCH] {
        feed.put(name, &file(name));
    }
    feed.list();
    feed
}

/// A machine that runs `version` with the root of 1.0, and follows `feed`; `more`: further settings.
fn node(feed: &Feed, version: &str, more: &str) -> Tree {
    let tree = Tree::running(version);
    fs::write(tree.path("dev/sda2"), old()).unwrap();
    fs::write(tree.path("dev/sda3"), noise(LEN, 99)).unwrap();
    feed.followed_by(&tree, more);
    tree
}

/// A changed byte in these regions of the running root.
fn change(tree: &Tree, regions: &[usize]) {
    let mut root = old();
    for region in regions {
        root[region * REGION + 1000] ^= 1;
    }
    fs::write(tree.path("dev/sda2"), root).unwrap();
}

/// The requests since the last call, without those for the lists and the UKI.
fn asked(feed: &Feed) -> Vec<String> {
    let mut asked = feed.asked();
    asked.retain(|path| !path.starts_with("/SHA256SUMS") && !path.ends_with(".efi"));
    asked
}

fn is_of_full(path: &str) -> bool {
    path.starts_with(&format!("/{FULL}"))
}

#[track_caller]
fn is_written(tree: &Tree) {
    assert!(read(&tree.path("dev/sda3")) == new(), "the slot has something else");
    assert_eq!(tree.entries(), ["edge_1.0.efi", "edge_2.0+3-0.efi"]);
    assert!(reboots(tree));
    let left: Vec<_> = fs::read_dir(tree.path("var/lib/abide/feed")).unwrap().flatten().collect();
    let is_left = |end: &str| left.iter().any(|file| file.file_name().to_string_lossy().ends_with(end));
    assert!(![".map", ".patch", ".frames", ".request", ".part", ".efi", ".zst"].into_iter().any(is_left));
}

#[track_caller]
fn is_not_bootable(tree: &Tree) {
    assert_eq!(tree.entries(), ["edge_1.0.efi"]);
    assert!(!reboots(tree));
    tree.abide(&["apply"]).fails(5);
}

/// Runs the commands of the units once.
fn cycle(tree: &Tree) {
    for run in units(tree) {
        run.ok();
    }
}

#[test]
fn an_update_by_patch_is_one_request_for_each_file() {
    let feed = feed();
    let tree = node(&feed, "1.0", "");
    tree.abide(&["update"]).ok();
    let names = ["SHA256SUMS", "SHA256SUMS.minisig", UKI, MAP, PATCH];
    assert_eq!(feed.asked(), names.map(|name| format!("/{name}")));
    is_written(&tree);
    assert!(file(MAP).len() + file(PATCH).len() < 20_000);
}

#[test]
fn the_units_update_by_patch_in_one_cycle() {
    let feed = feed();
    let tree = node(&feed, "1.0", "download_spread = 0");
    cycle(&tree);
    assert_eq!(asked(&feed), [format!("/{MAP}"), format!("/{PATCH}")]);
    is_written(&tree);
}

#[test]
fn a_changed_byte_of_the_running_root_costs_the_units_one_region() {
    let feed = feed();
    let tree = node(&feed, "1.0", "download_spread = 0");
    change(&tree, &[0]);
    cycle(&tree);
    assert_eq!(asked(&feed), [format!("/{MAP}"), format!("/{PATCH}")]);
    is_not_bootable(&tree);
    assert_eq!(tree.status()["failures"], serde_json::json!([]));
    cycle(&tree);
    let asked = asked(&feed);
    assert!(asked.len() == 1 && asked[0].starts_with(&format!("/{FULL} 0-")), "{asked:?}");
    is_written(&tree);
}

#[test]
fn neighbouring_regions_are_fetched_by_one_request_and_others_by_their_own() {
    let feed = feed();
    let tree = node(&feed, "1.0", "");
    change(&tree, &[0, 1, 5]);
    tree.abide(&["update"]).ok();
    let asked = asked(&feed);
    assert_eq!(asked.iter().filter(|path| is_of_full(path)).count(), 2, "{asked:?}");
    is_written(&tree);
}

#[test]
fn a_patch_that_cannot_be_used_does_not_condemn_the_release() {
    let good = file(PATCH);
    let other = fs::read(published(&noise(LEN, 77)).path().join("out").join(PATCH)).unwrap();
    let mut larger = good.clone();
    larger.extend(vec![0; 20 << 20]);
    let mut changed = good.clone();
    let at = changed.len() - 20;
    changed[at] ^= 1;
    let cases = [
        ("of another base", other),
        ("truncated", good[..good.len() / 2].to_vec()),
        ("larger than the full file", larger),
        ("changed", changed),
        ("something else", noise(5000, 5)),
    ];
    for (what, patch) in cases {
        for is_listed in [true, false] {
            let feed = feed();
            let tree = node(&feed, "1.0", "");
            feed.put(PATCH, &patch);
            if is_listed {
                feed.list();
            }
            tree.abide(&["update"]).ok();
            let asked = asked(&feed);
            assert!(asked.iter().any(|path| is_of_full(path)), "{what}: {asked:?}");
            assert!(asked.iter().filter(|path| path.contains("from-")).count() == 1, "{what}: {asked:?}");
            is_written(&tree);
        }
    }
}

#[test]
fn a_map_that_cannot_be_used_means_the_full_file() {
    for (what, is_listed) in
        [("replaced", false), ("something else", true), ("truncated", true), ("gone", false)]
    {
        let feed = feed();
        let tree = node(&feed, "1.0", "");
        match what {
            "gone" => fs::remove_file(feed.path(MAP)).unwrap(),
            "truncated" => feed.put(MAP, &file(MAP)[..100]),
            _ => feed.put(MAP, &noise(500, 5)),
        }
        if is_listed {
            feed.list();
        }
        tree.abide(&["update"]).ok();
        assert_eq!(asked(&feed), [format!("/{MAP}"), format!("/{FULL}")], "{what}");
        is_written(&tree);
    }
}

#[test]
fn a_full_file_that_does_not_fit_its_map_is_not_installed() {
    let feed = feed();
    let tree = node(&feed, "1.0", "");
    change(&tree, &[0]);
    let mut full = file(FULL);
    full[1 << 20] ^= 1;
    feed.put(FULL, &full);
    for _ in 0..2 {
        let run = tree.abide(&["update"]).fails(7);
        assert!(run.stderr.contains("is damaged or was replaced"), "{}", run.stderr);
        is_not_bootable(&tree);
    }
    assert_eq!(tree.status()["failures"], serde_json::json!([]));
    feed.put(FULL, &file(FULL));
    tree.abide(&["update"]).ok();
    is_written(&tree);
}

#[test]
fn a_server_without_ranges_sends_the_full_file() {
    let feed = feed();
    let tree = node(&feed, "1.0", "");
    change(&tree, &[2]);
    let dir = feed.path("");
    let server =
        Scripted::new(move |request| match fs::read(dir.join(request.target.trim_start_matches('/'))) {
            Ok(file) => answer("200 OK", &[&format!("Content-Length: {}", file.len())], &file),
            Err(_) => answer("404 Not Found", &[], b""),
        });
    let text = format!("[update]\nfeed = '{}'\n", server.url(""));
    fs::write(tree.path("etc/abide/abide.toml"), text).unwrap();
    tree.abide(&["update"]).ok();
    let full = server.asked().iter().filter(|asked| asked.target.ends_with(FULL)).count();
    assert_eq!(full, 2, "the one for a range is not read");
    is_written(&tree);
}

#[test]
fn a_version_without_a_patch_fetches_what_no_slot_has() {
    let feed = feed();
    let mut tree = node(&feed, "0.9", "download_spread = 0");
    fs::write(tree.entry("edge_0.8.efi"), uki("edge", "0.8", &cmdline("b"))).unwrap();
    tree.boot();
    // As an interrupted write leaves it.
    let mut slot = noise(LEN, 99);
    slot[3 * REGION..5 * REGION].copy_from_slice(&new()[3 * REGION..5 * REGION]);
    fs::write(tree.path("dev/sda3"), &slot).unwrap();
    cycle(&tree);
    assert_eq!(asked(&feed), [format!("/{MAP}")]);
    assert_eq!(tree.entries(), ["edge_0.8.efi", "edge_0.9.efi"], "nothing is lost before everything is here");
    assert!(read(&tree.path("dev/sda3")) == slot);
    cycle(&tree);
    let asked = asked(&feed);
    assert_eq!(asked.iter().filter(|path| is_of_full(path)).count(), 2, "{asked:?}");
    assert!(read(&tree.path("dev/sda3")) == new());
    assert!(reboots(&tree));
}

#[test]
fn where_nearly_everything_is_missing_the_full_file_is_fetched() {
    let feed = feed();
    let tree = node(&feed, "0.9", "");
    fs::write(tree.path("dev/sda2"), noise(LEN, 7)).unwrap();
    tree.abide(&["update"]).ok();
    assert_eq!(asked(&feed), [format!("/{MAP}"), format!("/{FULL}")]);
    assert!(read(&tree.path("dev/sda3")) == new());
}

/// What a server does with the next request for a file.
#[derive(Clone, Copy)]
enum Fault {
    /// The connection ends after so many bytes.
    Cut(usize),
    /// A portal answers.
    Page,
}

/// A server of a feed's files, with ranges, that fails where it is told to.
struct Faulty {
    server: Scripted,
    next: Arc<Mutex<Option<(&'static str, Fault)>>>,
    seen: usize,
}

impl Faulty {
    /// Has `tree` follow the feed by this server.
    fn of(feed: &Feed, tree: &Tree) -> Self {
        let (dir, next) = (feed.path(""), Arc::new(Mutex::new(None)));
        let fault = Arc::clone(&next);
        let server = Scripted::new(move |request| {
            let name = request.target.trim_start_matches('/');
            let file = fs::read(dir.join(name)).unwrap();
            let range = request.header("range").and_then(|range| range.strip_prefix("bytes="));
            let (from, last) = range.and_then(|range| range.split_once('-')).unwrap_or(("0", ""));
            let from: usize = from.parse().unwrap();
            let last = last.parse().unwrap_or(file.len() - 1);
            let body = &file[from..=last];
            let body = match fault.lock().unwrap().take_if(|(of, _)| *of == name) {
                Some((_, Fault::Page)) => {
                    return answer(
                        "200 OK",
                        &["Content-Type: text/html"],
                        b"<!DOCTYPE html><html>Log in</html>",
                    );
                }
                Some((_, Fault::Cut(after))) => &body[..after],
                None => body,
            };
            let len = format!("Content-Length: {}", last + 1 - from);
            match range {
                Some(_) => {
                    let range = format!("Content-Range: bytes {from}-{last}/{}", file.len());
                    answer("206 Part", &[&len, &range], body)
                }
                None => answer("200 OK", &[&len], body),
            }
        });
        let text = format!("[update]\nfeed = '{}'\n[download]\ngive_up_after = '0s'\n", server.url(""));
        fs::write(tree.path("etc/abide/abide.toml"), text).unwrap();
        Self { server, next, seen: 0 }
    }

    fn fail(&self, name: &'static str, fault: Fault) {
        *self.next.lock().unwrap() = Some((name, fault));
    }

    /// The requests since the last call, without those for the lists and the UKI, with their ranges.
    fn asked(&mut self) -> Vec<String> {
        let all = self.server.asked();
        let new = all[self.seen..].iter().map(|asked| match asked.header("range") {
            Some(range) => format!("{} {range}", asked.target),
            None => asked.target.clone(),
        });
        self.seen = all.len();
        new.filter(|asked| asked.contains(".root.")).collect()
    }
}

#[test]
fn an_interruption_in_any_phase_is_continued() {
    let feed = feed();
    let tree = node(&feed, "1.0", "");
    let mut server = Faulty::of(&feed, &tree);
    change(&tree, &[2, 3, 5]);
    let mut fails = |name, after| {
        server.fail(name, Fault::Cut(after));
        tree.abide(&["update"]).fails(3);
        is_not_bootable(&tree);
        server.asked()
    };
    let (map, patch) = (format!("/{MAP}"), format!("/{PATCH}"));
    assert_eq!(fails(MAP, 200), [map.as_str()]);
    assert_eq!(fails(PATCH, 2000), [format!("{map} bytes=200-"), patch.clone()]);
    // Two regions are neighbours, the third is far. The first frame is complete, as noise is a little longer when packed.
    let frames = fails(FULL, REGION + 1000);
    assert!(frames.len() == 2 && frames[0] == format!("{patch} bytes=2000-"), "{frames:?}");
    tree.abide(&["update"]).ok();
    let rest = server.asked();
    assert!(rest.len() == 2 && rest.iter().all(|asked| is_of_full(asked)), "{rest:?}");
    assert_ne!(rest[0], frames[1], "the first frame is here");
    is_written(&tree);
}

#[test]
fn a_portal_in_front_of_the_server_is_an_outage() {
    let feed = feed();
    let tree = node(&feed, "1.0", "");
    let mut server = Faulty::of(&feed, &tree);
    change(&tree, &[0]);
    for name in [MAP, PATCH, FULL] {
        server.fail(name, Fault::Page);
        let run = tree.abide(&["update"]).fails(3);
        assert!(run.stderr.contains("web page"), "{}", run.stderr);
        is_not_bootable(&tree);
    }
    server.asked();
    tree.abide(&["update"]).ok();
    let asked = server.asked();
    assert!(asked.len() == 1 && asked[0].starts_with(&format!("/{FULL} bytes=0-")), "{asked:?}");
    is_written(&tree);
}

#[test]
fn a_patch_that_is_added_later_does_not_make_it_another_release() {
    let feed = Feed::new();
    for name in [UKI, FULL] {
        feed.put(name, &file(name));
    }
    feed.list();
    let mut tree = node(&feed, "1.0", "");
    tree.abide(&["update"]).ok();
    tree.boot_with_initrd("2.0");
    tree.abide(&["rollback", "--reason", "it smells"]).ok();
    tree.boot_with_initrd("1.0");
    for name in [MAP, PATCH] {
        feed.put(name, &file(name));
    }
    feed.list();
    let run = tree.abide(&["update"]).ok();
    assert!(run.stdout.contains("it failed on this machine"), "{}", run.stdout);
    tree.abide(&["forget", "2.0"]).ok();
    asked(&feed);
    tree.abide(&["update", "--download-only"]).ok();
    assert_eq!(asked(&feed), [format!("/{MAP}"), format!("/{PATCH}")]);
}

#[test]
fn a_check_says_what_is_to_be_fetched_and_fetches_nothing() {
    let feed = feed();
    let tree = node(&feed, "1.0", "");
    let (full, by_patch) = (file(FULL).len() + file(UKI).len(), file(MAP).len() + file(PATCH).len());
    let mib = |bytes: usize| format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20));
    let said = tree.abide(&["update", "--check"]).ok().stdout;
    let fetch = by_patch + file(UKI).len();
    assert_eq!(
        said,
        format!("2.0 is available; {} to fetch (patch from 1.0), full size {}\n", mib(fetch), mib(full))
    );
    assert!(asked(&feed).iter().all(|path| path.ends_with(" 0-0")));
    let json = tree.abide(&["update", "--check", "--json"]).ok().json();
    assert_eq!(
        (&json["size"], &json["fetch"], &json["patch_from"]),
        (&full.into(), &fetch.into(), &"1.0".into())
    );
    let other = node(&feed, "0.9", "");
    let said = other.abide(&["update", "--check"]).ok().stdout;
    assert_eq!(said, format!("2.0 is available; at most {} to fetch\n", mib(full)));
    // What is here is not fetched again.
    tree.abide(&["update", "--survey"]).ok();
    feed.configure(&tree, "download_spread = 0");
    tree.abide(&["update", "--fetch"]).ok();
    assert_eq!(tree.abide(&["update", "--check", "--json"]).ok().json()["fetch"], 0);
}

#[test]
fn a_downloader_that_never_delivers_is_given_up() {
    let feed = feed();
    let tree = node(&feed, "1.0", "download_spread = 0");
    change(&tree, &[0]);
    for part in ["--survey", "--fetch"] {
        tree.abide(&["update", part]).ok();
    }
    let requests = || {
        let found = fs::read_dir(tree.path("var/lib/abide/feed")).unwrap().flatten();
        let found =
            found.map(|file| file.path()).filter(|path| path.extension().is_some_and(|end| end == "request"));
        found.collect::<Vec<_>>()
    };
    let mut installs = 0;
    for _ in 0..12 {
        tree.abide(&["update", "--install"]);
        // As if all was delivered.
        for request in requests() {
            installs += 1;
            fs::remove_file(request).unwrap();
        }
    }
    // Three requests, and three failures, after the last of which the cache is empty.
    assert_eq!(installs, 5);
    assert!(
        tree.status()["feed"]["waiting"].as_str().unwrap().contains("neither on this machine nor downloaded")
    );
    is_not_bootable(&tree);
    // An operator may try it again.
    tree.abide(&["update"]).ok();
    is_written(&tree);
}

#[test]
fn what_somebody_has_put_into_the_cache_costs_downloads_only() {
    let feed = feed();
    let full = abide_testing::tree::digest(&file(FULL));
    for (end, bytes) in [
        ("frames", noise(5000, 1)),
        ("frames", [&[0, 0, 0, 0][..], &noise(3 << 20, 1)].concat()),
        ("request", b"[[".to_vec()),
        ("request", b"[[0,99999999]]".to_vec()),
        ("request", b"[[0,0]]".to_vec()),
    ] {
        let tree = node(&feed, "1.0", "");
        change(&tree, &[0]);
        fs::create_dir_all(tree.path("var/lib/abide/feed")).unwrap();
        fs::write(tree.path(&format!("var/lib/abide/feed/{full}.{end}")), bytes).unwrap();
        tree.abide(&["update"]).ok();
        is_written(&tree);
    }
}

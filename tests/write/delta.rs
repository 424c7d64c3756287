//! Releases of which a machine fetches only what differs.

use super::*;

use std::sync::LazyLock;

use abide_testing::scripted::answer;
use abide_testing::{Scripted, program};

const REGION: usize = 2 << 20;

/// The size of the roots: four regions and a part of one.
const LEN: usize = 4 * REGION + 12_345;

/// What 1.0 has as its root.
fn old() -> Vec<u8> {
    noise(LEN, 1)
}

/// What 2.0 has: something put in front of the second half, and one block changed.
fn new() -> Vec<u8> {
    let mut root = old();
    root.splice(REGION + 5000..REGION + 5000, noise(3000, 2));
    root[3 * REGION..3 * REGION + 4096].copy_from_slice(&noise(4096, 3));
    root.truncate(LEN);
    root
}

/// A published folder with 2.0, and a patch from 1.0.
struct Feed {
    dir: tempfile::TempDir,
}

impl Feed {
    /// One that was published once for all tests.
    fn new() -> Self {
        static PUBLISHED: LazyLock<Feed> = LazyLock::new(|| Feed::published(&old()));
        let feed = Self { dir: tempfile::tempdir().unwrap() };
        for file in fs::read_dir(PUBLISHED.dir.path()).unwrap() {
            let file = file.unwrap();
            fs::copy(file.path(), feed.dir.path().join(file.file_name())).unwrap();
        }
        feed
    }

    fn published(old: &[u8]) -> Self {
        let feed = Self { dir: tempfile::tempdir().unwrap() };
        feed.put("edge_1.0.root.raw", old);
        feed.put("edge_2.0.root.raw", &new());
        feed.put("edge_2.0.efi", &uki("edge", "2.0", &cmdline("b")));
        feed.publish(&["--from", "1.0"]).ok();
        feed
    }

    fn publish(&self, words: &[&str]) -> Run {
        let mut command = program(env!("CARGO_BIN_EXE_abide"));
        Run::of(command.arg("publish").arg(self.dir.path()).args(words))
    }

    fn put(&self, name: &str, bytes: &[u8]) {
        fs::write(self.dir.path().join(name), bytes).unwrap();
    }

    fn file(&self, name: &str) -> Vec<u8> {
        fs::read(self.dir.path().join(name)).unwrap()
    }

    /// The list again, after files were changed behind its back.
    fn list(&self) {
        let command = "sha256sum $(cut -c67- SHA256SUMS) > new; mv new SHA256SUMS";
        assert!(
            program("sh").args(["-ec", command]).current_dir(self.dir.path()).status().unwrap().success()
        );
    }
}

const FULL: &str = "edge_2.0.root.raw.zst";
const MAP: &str = "edge_2.0.root.raw.map";
const PATCH: &str = "edge_2.0.root.raw.from-1.0.patch";

/// A machine that runs 1.0, with slots as large as the roots.
fn node() -> Tree {
    let tree = machine_without_signatures();
    fs::write(tree.path("dev/sda2"), old()).unwrap();
    fs::write(tree.path("dev/sda3"), noise(LEN, 99)).unwrap();
    tree
}

fn write_from(tree: &Tree, server: &Folder) -> (Run, Vec<String>) {
    let run = tree.abide(&["write", &server.url]);
    let mut asked = server.asked();
    asked.retain(|path| !path.starts_with("/SHA256SUMS") && !path.ends_with(".efi"));
    (run, asked)
}

#[track_caller]
fn is_written(tree: &Tree) {
    assert!(read(&tree.path("dev/sda3")) == new(), "the slot has something else");
    assert!(read(&tree.path("dev/sda2")) == old(), "the running slot was changed");
    tree.abide(&["apply"]).ok();
}

#[test]
fn a_machine_with_the_old_version_fetches_the_map_and_the_patch_only() {
    let (feed, tree) = (Feed::new(), node());
    let server = Folder::serve(feed.dir.path());
    let (run, asked) = write_from(&tree, &server);
    run.ok();
    assert_eq!(asked, [format!("/{MAP}"), format!("/{PATCH}")]);
    is_written(&tree);
    assert!(feed.file(PATCH).len() < 20_000, "{}", feed.file(PATCH).len());
}

#[test]
fn a_changed_byte_of_the_running_root_costs_one_region() {
    let (feed, tree) = (Feed::new(), node());
    let mut root = old();
    root[1000] ^= 1;
    fs::write(tree.path("dev/sda2"), &root).unwrap();
    let server = Folder::serve(feed.dir.path());
    let (run, asked) = write_from(&tree, &server);
    run.ok();
    assert_eq!(asked.len(), 3, "{asked:?}");
    assert!(asked[2].starts_with(&format!("/{FULL} 0-")), "{asked:?}");
    assert!(read(&tree.path("dev/sda3")) == new());
}

#[test]
fn a_patch_that_cannot_be_used_means_the_full_file() {
    let good = Feed::new().file(PATCH);
    let other_base = Feed::published(&noise(LEN, 77)).file(PATCH);
    let mut larger = good.clone();
    larger.extend(vec![0; 20 << 20]);
    let mut lying = good.clone();
    lying[56 + 2..56 + 6].copy_from_slice(&u32::MAX.to_le_bytes());
    let mut changed = good.clone();
    let at = changed.len() - 20;
    changed[at] ^= 1;
    let cases = [
        ("of another base", other_base),
        ("truncated", good[..good.len() / 2].to_vec()),
        ("empty", vec![]),
        ("larger than the full file", larger),
        ("with a length that is a lie", lying),
        ("changed", changed),
        ("something else", noise(5000, 5)),
    ];
    for (what, patch) in cases {
        for is_listed in [true, false] {
            let (feed, tree) = (Feed::new(), node());
            feed.put(PATCH, &patch);
            if is_listed {
                feed.list();
            }
            let server = Folder::serve(feed.dir.path());
            let (run, asked) = write_from(&tree, &server);
            run.ok();
            assert!(asked.iter().any(|path| path.starts_with(&format!("/{FULL}"))), "{what}: {asked:?}");
            is_written(&tree);
        }
    }
}

#[test]
fn a_map_that_cannot_be_used_means_the_full_file() {
    for (what, is_listed) in [("replaced", false), ("something else", true), ("gone", false)] {
        let (feed, tree) = (Feed::new(), node());
        match what {
            "gone" => fs::remove_file(feed.dir.path().join(MAP)).unwrap(),
            _ => feed.put(MAP, &noise(500, 5)),
        }
        if is_listed {
            feed.list();
        }
        let server = Folder::serve(feed.dir.path());
        let (run, asked) = write_from(&tree, &server);
        run.ok();
        assert_eq!(asked.last(), Some(&format!("/{FULL}")), "{what}");
        is_written(&tree);
    }
}

#[test]
fn a_full_file_that_does_not_fit_its_map_is_not_staged() {
    let (feed, tree) = (Feed::new(), node());
    fs::remove_file(feed.dir.path().join(PATCH)).unwrap();
    let mut full = feed.file(FULL);
    let at = full.len() / 2;
    full[at] ^= 1;
    feed.put(FULL, &full);
    let server = Folder::serve(feed.dir.path());
    let (run, _) = write_from(&tree, &server);
    assert!([3, 7].contains(&run.code), "{}", run.stderr);
    assert_eq!(tree.entries(), ["edge_1.0.efi"]);
    tree.abide(&["apply"]).fails(5);
}

#[test]
fn without_a_patch_only_the_regions_that_no_slot_has_are_fetched() {
    let (feed, tree) = (Feed::new(), node());
    fs::remove_file(feed.dir.path().join(PATCH)).unwrap();
    // As an interrupted write leaves it.
    let mut slot = noise(LEN, 99);
    slot[..2 * REGION].copy_from_slice(&new()[..2 * REGION]);
    fs::write(tree.path("dev/sda3"), &slot).unwrap();
    let server = Folder::serve(feed.dir.path());
    let (run, asked) = write_from(&tree, &server);
    run.ok();
    let full: Vec<&String> = asked.iter().filter(|path| path.starts_with(&format!("/{FULL}"))).collect();
    assert_eq!(full.len(), 1, "{asked:?}");
    assert!(!full[0].contains(" 0-"), "{asked:?}");
    is_written(&tree);
}

#[test]
fn a_server_without_ranges_sends_the_full_file_once() {
    let (feed, tree) = (Feed::new(), node());
    let mut root = old();
    for region in [0, 2, 4] {
        root[region * REGION + 1000] ^= 1;
    }
    fs::write(tree.path("dev/sda2"), &root).unwrap();
    let (dir, asked) = (feed.dir.path().to_owned(), std::sync::Arc::new(std::sync::Mutex::new(vec![])));
    let log = asked.clone();
    let server = Scripted::new(move |request| {
        log.lock().unwrap().push(request.target.clone());
        match fs::read(dir.join(request.target.trim_start_matches('/'))) {
            Ok(file) => answer("200 OK", &[&format!("Content-Length: {}", file.len())], &file),
            Err(_) => answer("404 Not Found", &[], b""),
        }
    });
    tree.abide(&["write", &server.url("")]).ok();
    let full = asked.lock().unwrap().iter().filter(|path| path.ends_with(FULL)).count();
    assert_eq!(full, 1);
    assert!(read(&tree.path("dev/sda3")) == new());
}

#[test]
fn a_patch_that_is_added_later_does_not_make_it_another_release() {
    let feed = Feed::new();
    let digest = |feed: &Feed| {
        let tree = node();
        tree.abide(&["write", feed.dir.path().to_str().unwrap()]).ok();
        tree.state().update.unwrap().digest.unwrap()
    };
    let before = digest(&feed);
    feed.put("edge_1.1.root.raw", &noise(LEN, 8));
    feed.publish(&["--from", "1.1", "--version", "2.0"]).ok();
    assert_eq!(digest(&feed), before);
}

#[test]
fn publishing_is_repeatable_and_replaces_nothing_that_was_published() {
    let (one, two) = (Feed::new(), Feed::published(&old()));
    for name in [FULL, MAP, PATCH, "SHA256SUMS"] {
        assert!(one.file(name) == two.file(name), "{name} differs");
    }
    let run = one.publish(&["--from", "1.0"]).ok();
    assert!(run.stdout.contains("SHA256SUMS is unchanged"), "{}", run.stdout);
    one.put("edge_2.0.root.raw", &noise(LEN, 4));
    let run = one.publish(&["--from", "1.0"]);
    assert!(run.stderr.contains("is not the root that was published"), "{}", run.stderr);
    run.fails(6);
    assert!(one.file(PATCH) == two.file(PATCH), "the published patch was replaced");
    fs::remove_file(one.dir.path().join(MAP)).unwrap();
    let run = one.publish(&[]);
    assert!(run.stderr.contains("publish another version"), "{}", run.stderr);
    run.fails(6);
    assert!(one.file(FULL) == two.file(FULL));
    one.publish(&["--from", "9.9"]).fails(2);
}

#[test]
fn the_full_file_is_an_ordinary_one() {
    let feed = Feed::new();
    let unpacked = program("zstd").args(["-dcq", FULL]).current_dir(feed.dir.path()).output().unwrap().stdout;
    assert!(unpacked == new());
}

#[test]
fn another_client_makes_the_same_root_from_the_specification_alone() {
    let feed = Feed::new();
    let decoder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/write/decoder.py");
    let run = |words: &[&str]| {
        let mut command = program("python3");
        Run::of(command.arg(decoder).args(words).current_dir(feed.dir.path())).ok().stdout
    };
    let by_patch = run(&[MAP, FULL, "new", PATCH, "edge_1.0.root.raw"]);
    assert_eq!(by_patch, "5 regions, 0 of them from the full file\n");
    assert!(feed.file("new") == new());
    assert_eq!(run(&[MAP, FULL, "new"]), "5 regions, 5 of them from the full file\n");
    assert!(feed.file("new") == new());
}

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
const MAP: &str = "edge_2.0.root.map";
const PATCH: &str = "edge_2.0.root.from-1.0.patch";

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
    assert!(run.stderr.contains("is not what was published"), "{}", run.stderr);
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

/// A machine with dm-verity hashes of 1.0, and a feed with those of 2.0 and a UKI that resembles the old one.
fn with_all_parts(publish_first: impl FnOnce(&Feed)) -> (Feed, Tree) {
    let tree = node();
    for (node, label) in [("sda4", "rootfs_a_verity"), ("sda5", "rootfs_b_verity")] {
        fs::write(tree.path("dev").join(node), noise(HASHES, 5)).unwrap();
        symlink(format!("../../{node}"), tree.path("dev/disk/by-partlabel").join(label)).unwrap();
    }
    let (old_uki, new_uki) = ukis();
    fs::write(tree.entry("edge_1.0.efi"), &old_uki).unwrap();
    let feed = Feed { dir: tempfile::tempdir().unwrap() };
    feed.put("edge_1.0.root.raw", &old());
    feed.put("edge_1.0.root-verity.raw", &noise(HASHES, 5));
    feed.put("edge_1.0.efi", &old_uki);
    feed.put("edge_2.0.root.raw", &new());
    feed.put("edge_2.0.root-verity.raw", &new_hashes());
    feed.put("edge_2.0.efi", &new_uki);
    publish_first(&feed);
    feed.publish(&["--from", "1.0"]).ok();
    (feed, tree)
}

const HASHES: usize = 600 << 10;

fn new_hashes() -> Vec<u8> {
    let mut hashes = noise(HASHES, 5);
    hashes[..4096].copy_from_slice(&noise(4096, 6));
    hashes
}

/// The UKIs of 1.0 and 2.0, with the same kernel of a region and a half behind their other sections.
fn ukis() -> (Vec<u8>, Vec<u8>) {
    let of = |version: &str, words: &str| [uki("edge", version, words), noise(3 * REGION / 2, 7)].concat();
    let hash = "00112233445566778899aabbccddeeff0123456789abcdeffedcba9876543210";
    let verity = format!("roothash={hash} root=/dev/mapper/root panic=1");
    (of("1.0", &cmdline("a")), of("2.0", &verity))
}

const UKI_PATCH: &str = "edge_2.0.uki.from-1.0.patch";

/// The paths that a machine asks for, without list and signatures.
fn asked_for(tree: &Tree, feed: &Feed) -> Vec<String> {
    let server = Folder::serve(feed.dir.path());
    tree.abide(&["write", &server.url]).ok();
    let mut asked = server.asked();
    asked.retain(|path| !path.starts_with("/SHA256SUMS"));
    asked.sort();
    asked
}

#[track_caller]
fn has_all_parts(tree: &Tree) {
    is_written(tree);
    assert!(read(&tree.path("dev/sda5")).starts_with(&new_hashes()), "other hashes");
    assert!(read(&tree.entry("edge_2.0+3-0.efi")) == ukis().1, "another UKI");
}

#[test]
fn uki_and_verity_hashes_are_made_from_the_running_ones_too() {
    let (feed, tree) = with_all_parts(|_| {});
    let verity = "/edge_2.0.root-verity";
    let wanted = [
        format!("{verity}.from-1.0.patch"),
        format!("{verity}.map"),
        format!("/{PATCH}"),
        format!("/{MAP}"),
        format!("/{UKI_PATCH}"),
    ];
    assert_eq!(asked_for(&tree, &feed), wanted);
    assert!(feed.file(UKI_PATCH).len() < 200_000, "{}", feed.file(UKI_PATCH).len());
    has_all_parts(&tree);
}

#[test]
fn a_uki_that_is_published_packed_is_made_by_its_patch() {
    let (feed, tree) = with_all_parts(|feed| {
        feed.put("edge_2.0.efi.zst", &zst(&feed.file("edge_2.0.efi")));
        fs::remove_file(feed.dir.path().join("edge_2.0.efi")).unwrap();
    });
    let asked = asked_for(&tree, &feed);
    assert!(asked.iter().all(|path| !path.ends_with(".efi.zst")), "{asked:?}");
    has_all_parts(&tree);
}

#[test]
fn a_uki_patch_that_cannot_be_used_means_the_full_uki() {
    for (what, is_listed) in [("replaced", false), ("changed", true), ("cut", true), ("another base", true)] {
        let (feed, tree) = with_all_parts(|feed| {
            if what == "another base" {
                feed.put("edge_1.0.efi", &[ukis().0, noise(100, 3)].concat()[100..]);
            }
        });
        let mut patch = feed.file(UKI_PATCH);
        match what {
            "cut" => patch.truncate(100),
            "another base" => {}
            _ => *patch.last_mut().unwrap() ^= 1,
        }
        feed.put(UKI_PATCH, &patch);
        if is_listed {
            feed.list();
        }
        let asked = asked_for(&tree, &feed);
        assert!(asked.contains(&"/edge_2.0.efi".to_owned()), "{what}: {asked:?}");
        has_all_parts(&tree);
    }
}

#[test]
fn the_published_bytes_do_not_depend_on_the_number_of_processors() {
    let (all, _) = with_all_parts(|_| {});
    let one = Feed { dir: tempfile::tempdir().unwrap() };
    for name in ["edge_1.0.root.raw", "edge_1.0.root-verity.raw", "edge_1.0.efi", "edge_2.0.root.raw"] {
        one.put(name, &all.file(name));
    }
    for name in ["edge_2.0.root-verity.raw", "edge_2.0.efi"] {
        one.put(name, &all.file(name));
    }
    let mut command = program("taskset");
    command.args(["-c", "0", env!("CARGO_BIN_EXE_abide"), "publish"]).arg(one.dir.path());
    Run::of(command.args(["--from", "1.0"])).ok();
    for name in [FULL, MAP, PATCH, UKI_PATCH, "SHA256SUMS"] {
        assert!(one.file(name) == all.file(name), "{name} differs");
    }
}

#[test]
fn old_bytes_that_look_like_a_dictionary_are_no_dictionary() {
    let feed = Feed { dir: tempfile::tempdir().unwrap() };
    let mut root = noise(REGION, 1);
    root[..4].copy_from_slice(&[0x37, 0xa4, 0x30, 0xec]);
    feed.put("edge_1.0.root.raw", &root);
    root[9000] ^= 1;
    feed.put("edge_2.0.root.raw", &root);
    feed.publish(&["--from", "1.0"]).ok();
    let decoder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/write/decoder.py");
    let mut command = program("python3");
    let words = [decoder, MAP, FULL, "new", PATCH, "edge_1.0.root.raw"];
    let made = Run::of(command.args(words).current_dir(feed.dir.path())).ok().stdout;
    assert_eq!(made, "1 regions, 0 of them from the full file\n");
    assert!(feed.file(PATCH).len() < 1000, "{}", feed.file(PATCH).len());
}

#[test]
fn the_publisher_is_told_what_is_fetched_and_what_makes_patches_large() {
    let feed = Feed { dir: tempfile::tempdir().unwrap() };
    let verity = |salt: u8| {
        let mut hashes = noise(HASHES, 5);
        hashes[..8].copy_from_slice(b"verity\0\0");
        hashes[88..120].fill(salt);
        hashes
    };
    for (version, salt) in [("1.0", 1), ("2.0", 2)] {
        let root = [b"hsqs".to_vec(), noise(REGION, 1)].concat();
        feed.put(&format!("edge_{version}.root.raw"), &root);
        feed.put(&format!("edge_{version}.root-verity.raw"), &verity(salt));
    }
    let told = feed.publish(&["--from", "1.0"]).ok().stdout;
    for words in ["is a squashfs", "1.0: its dm-verity hashes have another salt", "with 1.0 fetches 0."] {
        assert!(told.contains(words), "{told}");
    }
    let mut root = vec![0; 4096];
    root[1024..1028].copy_from_slice(&0xE0F5_E1E2_u32.to_le_bytes());
    for (features, is_packed) in [(0, false), (1, true)] {
        root[1024 + 80] = features;
        feed.put(&format!("edge_3.{features}.root.raw"), &root);
        let told = feed.publish(&[]).ok().stdout;
        assert_eq!(told.contains("is a compressed erofs"), is_packed, "{told}");
    }
}

#[test]
fn a_patch_is_requested_when_its_partition_is_written() {
    let (feed, tree) = with_all_parts(|_| {});
    let server = Folder::serve(feed.dir.path());
    tree.abide(&["write", &server.url]).ok();
    let asked = server.asked();
    let at = |end: &str| asked.iter().position(|path| path.ends_with(end)).unwrap();
    assert!(at("verity.map") < at(PATCH), "{asked:?}");
    assert!(at(PATCH) < at("verity.from-1.0.patch"), "{asked:?}");
}

/// What the patterns of systemd-sysupdate match: each name that begins with what they say. Tried with that of systemd 257.
#[test]
fn no_pattern_of_systemd_sysupdate_matches_a_map_or_a_patch() {
    let (feed, _) = with_all_parts(|_| {});
    let text = String::from_utf8(feed.file("SHA256SUMS")).unwrap();
    let added: Vec<&str> = text
        .lines()
        .map(|line| line.split_once("  ").unwrap().1)
        .filter(|name| !name.ends_with(".zst"))
        .collect();
    assert_eq!(added.len(), 6, "{added:?}");
    for name in added.into_iter().filter(|name| !name.ends_with(".efi")) {
        let rest = name.strip_prefix("edge_").unwrap();
        for end in [".root.raw", ".root.xz", ".root-verity.raw", ".verity", ".efi", ".raw"] {
            assert!(!rest.contains(end), "edge_@v{end} matches {name}");
        }
    }
}

/// With the real systemd-sysupdate, where the machine that tests has it.
#[test]
fn systemd_sysupdate_passes_over_maps_and_patches() {
    let places = ["/usr/lib/systemd/systemd-sysupdate", "/usr/bin/systemd-sysupdate"];
    let Some(sysupdate) = places.iter().find(|place| std::path::Path::new(place).exists()) else {
        eprintln!("skipped: there is no systemd-sysupdate");
        return;
    };
    let (feed, tree) = with_all_parts(|_| {});
    let definitions = tree.path("sysupdate.d");
    fs::create_dir_all(&definitions).unwrap();
    fs::create_dir_all(tree.path("installed")).unwrap();
    for (number, pattern) in ["edge_@v.root.raw.zst", "edge_@v.efi"].iter().enumerate() {
        let (from, to) = (feed.dir.path().display(), tree.path("installed"));
        let text = format!(
            "[Transfer]\nVerify=no\n[Source]\nType=regular-file\nPath={from}\nMatchPattern={pattern}\n\
             [Target]\nType=regular-file\nPath={}\nMatchPattern={pattern}\n",
            to.display()
        );
        fs::write(definitions.join(format!("{number}.conf")), text).unwrap();
    }
    let mut command = program(sysupdate);
    command.arg("--definitions").arg(&definitions).args(["--no-pager", "list", "2.0"]);
    let told = Run::of(&mut command).ok().stdout;
    assert!(told.contains("/edge_2.0.efi ") && !told.contains("from-"), "{told}");
}

//! What other users of the machine can do: the one that the downloader runs as, with full control of the cache; the
//! owner of the folder for metrics; and any other.

use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use super::*;
use abide_testing::Background;
use abide_testing::process::executable;
use abide_testing::skip::skipped;
use abide_testing::tree::digest;

/// The user of the downloader: systemd takes it from 61184 to 65519 (systemd.exec(5), DynamicUser=).
const FETCHER: u32 = 61_184;

/// Anybody else: nobody.
const ANYBODY: u32 = 65_534;

const CACHE: &str = "var/lib/abide/feed";

/// The names of the cache, the ones of older versions of Abide among them.
const NAMES: &str = "SHA256SUMS SHA256SUMS.minisig SHA256SUMS.gpg feed.toml feed.json hawkbit.json fleetlock.json lock \
                     edge_2.0.raw.zst $part feed.json.new SHA256SUMS.new SHA256SUMS.minisig.new other";

/// What a shell does with the name `$n`.
const PLANTS: [(&str, &str); 7] = [
    ("a link", "ln -s ../../../../victim $n"),
    ("a link to nothing", "ln -s ../../../../etc/cron $n"),
    ("a pipe", "mkfifo $n"),
    ("an endless file", "truncate -s 8T $n"),
    ("a folder", "mkdir $n; touch $n/file"),
    ("undefined data", "head -c 100000 /dev/urandom >$n"),
    ("a file for everybody", "echo '{\"tried\": 1}' >$n; chmod 4777 $n"),
];

/// A command that ends, one way or the other.
fn bounded(words: &[&str], tree: &Tree) -> Run {
    let started = Instant::now();
    let mut command = program("timeout");
    command.args(["--kill-after=5", "90"]).arg(executable()).arg("--root").arg(tree.dir.path()).args(words);
    let run = Run::of(&mut command);
    assert!(
        started.elapsed() < Duration::from_secs(80) && run.code != 124,
        "{words:?} hangs: {}",
        run.stderr
    );
    run
}

/// A shell of another user, in a folder of the tree.
fn shell(uid: u32, dir: &Path, script: &str) -> Command {
    let mut sh = program("sh");
    sh.args(["-uc", script]).uid(uid).gid(uid).current_dir(dir).stdin(Stdio::null());
    sh.stdout(Stdio::null()).stderr(Stdio::null());
    sh
}

/// What an update changes, and the folders of these users.
const UPDATED: [&str; 7] =
    ["var/lib/abide/feed", "var/lib/abide/update.json", "run", "efi/EFI", "dev/sda3", "proc", "textfile"];

/// Everything that these users must not change: all but the cache, and what an update changes.
fn outside(tree: &Tree) -> Vec<String> {
    let mut found = vec![];
    let mut todo = vec![tree.dir.path().to_owned()];
    while let Some(dir) = todo.pop() {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(tree.dir.path()).unwrap().display().to_string();
            if UPDATED.iter().any(|folder| name.starts_with(folder)) {
                continue;
            }
            let meta = fs::symlink_metadata(&path).unwrap();
            let content = if meta.is_file() { digest(&fs::read(&path).unwrap()) } else { String::new() };
            found.push(format!("{name} {:o} {}:{} {content}", meta.mode(), meta.uid(), meta.gid()));
            if meta.is_dir() {
                todo.push(path);
            }
        }
    }
    found.sort();
    found
}

/// Nothing outside has changed since `before`.
#[track_caller]
fn unchanged(tree: &Tree, before: &[String], what: &str) {
    let now = outside(tree);
    let gone: Vec<_> = before.iter().filter(|line| !now.contains(line)).collect();
    let new: Vec<_> = now.iter().filter(|line| !before.contains(line)).collect();
    assert!(gone.is_empty() && new.is_empty(), "{what}: {gone:?} -> {new:?}");
}

/// A machine that others can look at, with a file that only root may read.
fn open_machine(feed: &Feed) -> Tree {
    let tree = machine(feed);
    feed.configure(&tree, "download_spread = 0");
    fs::set_permissions(tree.dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(tree.path("victim"), "{}").unwrap();
    fs::set_permissions(tree.path("victim"), fs::Permissions::from_mode(0o600)).unwrap();
    tree
}

/// Hands the cache over to the downloader's user, as the unit does.
fn hand_over(tree: &Tree) -> Run {
    let runtime = tree.path("var/runtime");
    fs::create_dir_all(&runtime).unwrap();
    chown(&runtime, Some(FETCHER), Some(FETCHER)).unwrap();
    Run::of(tree.command().args(["update", "--hand-over"]).env("RUNTIME_DIRECTORY", runtime))
}

/// Whether these tests can run.
fn can_change_users(test: &str) -> bool {
    let is_root = user() == 0;
    let can_execute = is_root && {
        let mut command = program(executable());
        command.arg("--version").uid(FETCHER).gid(FETCHER).stdout(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    };
    if !can_execute {
        skipped(test, if is_root { "other users cannot execute abide here" } else { "not root" });
    }
    can_execute
}

/// The user of this process.
fn user() -> u32 {
    fs::metadata("/proc/self").unwrap().uid()
}

#[test]
fn who_controls_the_cache_can_delay_updates_and_nothing_else() {
    if !can_change_users("who_controls_the_cache_can_delay_updates_and_nothing_else") {
        return;
    }
    let feed = Feed::new();
    let image = feed.publish("2.0", "b");
    let names = NAMES.replace("$part", &format!("{}.part", digest(&image.zst())));
    for (number, (what, plant)) in PLANTS.iter().enumerate() {
        let tree = open_machine(&feed);
        tree.abide(&["update", "--survey"]).ok();
        hand_over(&tree).ok();
        let cache = tree.path(CACHE);
        assert_eq!(fs::metadata(&cache).unwrap().uid(), FETCHER);
        Run::of(tree.command().args(["update", "--fetch"]).uid(FETCHER).gid(FETCHER)).ok();
        let before = outside(&tree);
        let put = format!("for n in {names}; do rm -rf $n; {plant}; done");
        shell(FETCHER, &cache, &put).status().unwrap();
        // The swaps go on as long as the folder is the user's.
        let swap = format!(
            "while :; do for n in {names}; do mv -T $n .$n; {plant}; rm -rf $n; mv -T .$n $n; done; done"
        );
        let swaps = (number % 2 == 0).then(|| Background::start(shell(FETCHER, &cache, &swap)));
        // Every other time, the image stays open to be changed.
        let open = if number % 2 == 0 { "true" } else { "exec 9>>edge_2.0.raw.zst" };
        let hold = format!("{open}; exec flock lock sleep 300");
        let locked = Background::start(shell(FETCHER, &cache, &hold));
        for words in [
            ["update", "--install"],
            ["update", "--boot"],
            ["update", "--check"],
            ["status", "--json"],
            ["update", "--survey"],
        ] {
            let run = bounded(&words, &tree);
            assert!(
                run.stderr.lines().all(|line| line.starts_with("abide: ")),
                "{what}: {words:?}: {}",
                run.stderr
            );
        }
        unchanged(&tree, &before, what);
        let slot = fs::read(tree.path("dev/sda3")).unwrap();
        assert!(
            slot.iter().all(|byte| *byte == 0) || slot.starts_with(&image.root),
            "{what}: the slot has other bytes"
        );
        // The next cycle of the units gets the machine its update.
        drop(swaps);
        hand_over(&tree).ok();
        drop(locked);
        fs::write(cache.join("feed.json"), "{}").unwrap();
        chown(cache.join("feed.json"), Some(FETCHER), Some(FETCHER)).unwrap();
        Run::of(tree.command().args(["update", "--fetch"]).uid(FETCHER).gid(FETCHER)).ok();
        bounded(&["update", "--take-back"], &tree).ok();
        assert_eq!(fs::metadata(&cache).unwrap().uid(), 0, "{what}");
        bounded(&["update", "--install"], &tree).ok();
        bounded(&["update", "--boot"], &tree).ok();
        assert!(reboots(&tree), "{what}");
        unchanged(&tree, &before, what);
    }
}

#[test]
fn a_command_of_root_takes_the_cache_over_before_it_writes_there() {
    if !can_change_users("a_command_of_root_takes_the_cache_over_before_it_writes_there") {
        return;
    }
    let feed = Feed::new();
    let image = feed.publish("2.0", "b");
    let names = NAMES.replace("$part", &format!("{}.part", digest(&image.zst())));
    for words in [&["update", "--check"][..], &["update", "--download-only"], &["update"]] {
        let tree = open_machine(&feed);
        tree.abide(&["update", "--survey"]).ok();
        hand_over(&tree).ok();
        let put = format!("for n in {names}; do ln -s ../../../../victim $n; done");
        shell(FETCHER, &tree.path(CACHE), &put).status().unwrap();
        let before = outside(&tree);
        bounded(words, &tree).ok();
        unchanged(&tree, &before, &format!("{words:?}"));
        assert_eq!(fs::metadata(tree.path(CACHE)).unwrap().uid(), 0, "{words:?}");
    }
}

#[test]
fn the_owner_of_the_metrics_folder_has_no_other_file_overwritten() {
    if !can_change_users("the_owner_of_the_metrics_folder_has_no_other_file_overwritten") {
        return;
    }
    let feed = Feed::new();
    let tree = open_machine(&feed);
    feed.configure(&tree, "[report]\nmetrics = '/textfile/deep/abide.prom'");
    fs::create_dir_all(tree.path("textfile/deep")).unwrap();
    for dir in ["textfile", "textfile/deep"] {
        chown(tree.path(dir), Some(ANYBODY), Some(ANYBODY)).unwrap();
    }
    let dir = tree.path("textfile");
    bounded(&["update"], &tree).ok();
    let before = outside(&tree);
    for plant in [
        "true",
        "ln -sf ../../victim deep/abide.prom; ln -sf ../../victim deep/abide.prom.new",
        "rm deep/*; mkfifo deep/abide.prom deep/abide.prom.new",
        "rm deep/*; truncate -s 8T deep/abide.prom deep/abide.prom.new",
        "rm deep/*; mkdir deep/abide.prom deep/abide.prom.new",
        "rm -r deep; ln -s ../etc deep",
    ] {
        shell(ANYBODY, &dir, plant).status().unwrap();
        let run = bounded(&["update"], &tree).ok();
        let is_written = fs::symlink_metadata(dir.join("deep/abide.prom")).is_ok_and(|meta| meta.is_file());
        assert_eq!(is_written, run.stderr.is_empty(), "{plant}: {}", run.stderr);
        unchanged(&tree, &before, plant);
    }
    shell(ANYBODY, &dir, "rm deep; mkdir deep").status().unwrap();
    let swap = "while :; do mv deep away; ln -s ../etc deep; rm deep; mv away deep; done";
    let swaps = Background::start(shell(ANYBODY, &dir, swap));
    for _ in 0..20 {
        bounded(&["update"], &tree).ok();
    }
    drop(swaps);
    unchanged(&tree, &before, "swaps");
}

#[test]
fn a_lock_that_any_user_can_take_keeps_nothing_waiting() {
    if !can_change_users("a_lock_that_any_user_can_take_keeps_nothing_waiting") {
        return;
    }
    let feed = Feed::new();
    let mut tree = open_machine(&feed);
    feed.publish("2.0", "b");
    feed.configure(&tree, "download_spread = 0");
    tree.abide(&["update", "--download-only"]).ok();
    tree.abide(&["apply"]).ok();
    tree.boot_with_initrd("2.0");
    assert!(tree.path("run/abide/lock").exists());
    // Everything that can be opened is locked.
    let grab =
        "find run var etc -exec sh -c 'for f; do flock -n \"$f\" sleep 300 & done' sh {} + ; sleep 300";
    let grabbed = Background::start(shell(ANYBODY, tree.dir.path(), grab));
    std::thread::sleep(Duration::from_secs(3));
    bounded(&["commit", "--now"], &tree).ok();
    bounded(&["update", "--check"], &tree).fails(5);
    // What is meant to be read can still be read.
    for file in ["run/abide/boot.json", "var/lib/abide/feed/feed.json"] {
        let run = shell(ANYBODY, tree.dir.path(), &format!("cat {file}")).status().unwrap();
        assert!(run.success(), "{file}");
    }
    drop(grabbed);
}

#[test]
fn a_held_lock_ends_the_wait_of_a_trial_and_is_named() {
    let feed = Feed::new();
    let mut tree = machine(&feed);
    feed.publish("2.0", "b");
    tree.abide(&["update", "--download-only"]).ok();
    tree.abide(&["apply"]).ok();
    tree.boot_with_initrd("2.0");
    let lock = tree.path("run/abide/lock");
    let held = Background::start({
        let mut flock = program("flock");
        flock.arg(&lock).args(["sleep", "300"]);
        flock
    });
    let mut probe = program("flock");
    while Run::of(probe.arg("-n").arg(&lock).arg("true")).code == 0 {
        probe = program("flock");
    }
    let started = Instant::now();
    let run = bounded(&["assess", "--failed"], &tree);
    assert!(started.elapsed() > Duration::from_secs(5));
    assert!(
        run.stderr.contains("waiting for the lock") && run.stderr.contains("another abide is running"),
        "{}",
        run.stderr
    );
    drop(held);
    bounded(&["commit", "--now"], &tree).ok();
}

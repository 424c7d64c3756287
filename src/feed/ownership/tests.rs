#![allow(clippy::unwrap_used, clippy::panic)]
use std::fs;
use std::os::unix::fs::{chown, symlink};
use std::path::PathBuf;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use abide_core::root::Root;
use abide_testing::skip::skipped;
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

use super::*;
use crate::feed::cache::{FETCH_STATE, FILES};
use crate::feed::memory::FetchState;
use crate::feed::partial_file::PartialFile;

/// Another user.
const OTHER: Owner = Owner { uid: 61_184, gid: 61_184 };

/// More than any file system of a test has.
const ENDLESS: u64 = 1 << 43;

/// What the owner of the cache can put where a file of it is expected; the second path is outside of it.
type Plant = fn(&Path, &Path);
const PLANTS: [(&str, Plant); 6] = [
    ("a link", |path, outside| symlink(outside, path).unwrap()),
    ("a link to nothing", |path, outside| symlink(outside.with_file_name("new"), path).unwrap()),
    ("a pipe", |path, _| mkfifo(path, Mode::from_bits_truncate(0o666)).unwrap()),
    ("an endless file", |path, _| File::create(path).unwrap().set_len(ENDLESS).unwrap()),
    ("a folder", |path, _| {
        fs::create_dir(path).unwrap();
        fs::write(path.join("file"), "x").unwrap();
    }),
    ("a hard link", |path, outside| fs::hard_link(outside, path).unwrap()),
];

/// Each name that a file of the cache can have.
fn names() -> Vec<String> {
    let release =
        ["edge_2.0.raw.zst".to_owned(), "edge_2.0.efi".to_owned(), format!("{}.part", "ab".repeat(32))];
    FILES.iter().map(|name| (*name).to_owned()).chain(release).collect()
}

struct Scene {
    _dir: tempfile::TempDir,
    root: Root,
    cache: Cache,
    outside: PathBuf,
}

impl Scene {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::at(dir.path());
        let cache = Cache::of(&root);
        fs::create_dir_all(cache.dir()).unwrap();
        let outside = dir.path().join("outside");
        fs::write(&outside, "[1, 2]").unwrap();
        fs::set_permissions(&outside, Permissions::from_mode(0o600)).unwrap();
        Self { _dir: dir, root, cache, outside }
    }

    #[track_caller]
    fn outside_is_unchanged(&self, what: &str) {
        let meta = fs::metadata(&self.outside).unwrap();
        assert_eq!(fs::read_to_string(&self.outside).unwrap(), "[1, 2]", "{what}");
        assert_eq!((meta.mode() & 0o777, meta.uid()), (0o600, geteuid().as_raw()), "{what}");
        assert!(!self.outside.with_file_name("new").exists(), "{what}");
    }
}

/// Work that must not hang.
#[track_caller]
fn soon<T: Send + 'static>(what: &str, work: impl FnOnce() -> T + Send + 'static) -> T {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || sender.send(work()));
    receiver.recv_timeout(Duration::from_secs(20)).unwrap_or_else(|_| panic!("{what} hangs"))
}

#[test]
fn whatever_has_a_name_of_the_cache_nothing_outside_is_read_or_changed() {
    for name in names() {
        for (kind, plant) in PLANTS {
            let scene = Scene::new();
            let what = format!("{name} as {kind}");
            plant(&scene.cache.dir().join(&name), &scene.outside);
            let (cache, file) = (scene.cache.clone(), name.clone());
            let read = soon(&what, move || cache.read(&file));
            assert_eq!(read, None, "{what}");
            scene.outside_is_unchanged(&what);
            let (cache, file) = (scene.cache.clone(), name.clone());
            let stored = soon(&what, move || cache.store(&file, b"{}"));
            assert_eq!(stored.is_ok(), kind != "a folder", "{what}: {stored:?}");
            if stored.is_ok() {
                assert_eq!(fs::read_to_string(scene.cache.dir().join(&name)).unwrap(), "{}", "{what}");
            }
            scene.outside_is_unchanged(&what);
        }
    }
}

#[test]
fn a_partial_file_and_the_lock_are_never_a_link_or_pipe() {
    for (kind, plant) in PLANTS.into_iter().filter(|(kind, _)| *kind != "an endless file") {
        let scene = Scene::new();
        plant(&scene.cache.dir().join("x.part"), &scene.outside);
        plant(&scene.cache.dir().join(LOCK), &scene.outside);
        let dir = scene.cache.dir().to_owned();
        let mut file = soon(kind, move || PartialFile::open(&dir, "x.part").unwrap());
        file.append(b"one").unwrap();
        file.rename_to("x").unwrap();
        assert_eq!(fs::read_to_string(scene.cache.dir().join("x")).unwrap(), "one", "{kind}");
        let cache = scene.cache.clone();
        let lock = soon(kind, move || cache.lock().unwrap());
        assert_eq!(scene.cache.lock().unwrap_err().exit_code(), 8, "{kind}");
        drop(lock);
        scene.outside_is_unchanged(kind);
    }
}

#[test]
fn a_claimed_cache_has_only_plain_files_with_known_names() {
    for (kind, plant) in PLANTS {
        let scene = Scene::new();
        for name in names() {
            plant(&scene.cache.dir().join(&name), &scene.outside);
        }
        plant(&scene.cache.dir().join("other"), &scene.outside);
        let cache = scene.cache.clone();
        soon(kind, move || claim(&cache).unwrap());
        assert_eq!(fs::read_dir(scene.cache.dir()).unwrap().count(), 0, "{kind}");
        scene.outside_is_unchanged(kind);
    }
    let scene = Scene::new();
    let known = names();
    for name in known.iter().map(String::as_str).chain(["other", ".feed.json.0123"]) {
        fs::write(scene.cache.dir().join(name), "x").unwrap();
    }
    claim(&scene.cache).unwrap();
    let mut left: Vec<String> =
        read_names(scene.cache.dir()).unwrap().into_iter().map(|name| name.into_string().unwrap()).collect();
    let mut expected = known;
    left.sort();
    expected.sort();
    assert_eq!(left, expected);
}

#[test]
fn a_cache_changes_its_owner_as_a_whole() {
    if geteuid().as_raw() != 0 {
        return skipped("a_cache_changes_its_owner_as_a_whole", "not root");
    }
    let scene = Scene::new();
    let dir = scene.cache.dir();
    FetchState { polls: 3, ..FetchState::default() }.write(&scene.root).unwrap();
    let before = scene.cache.lock().unwrap();
    give(&scene.cache, OTHER).unwrap();
    let owner = |path: &Path| fs::metadata(path).unwrap().uid();
    assert_eq!((owner(dir), owner(&dir.join(FETCH_STATE))), (OTHER.uid, OTHER.uid));
    assert!(!is_own(&scene.cache).unwrap());
    // Who held the lock of before holds no lock of this one.
    let lock = scene.cache.lock().unwrap();
    drop(before);
    // The owner can make a file of its own, and open names to everybody.
    fs::write(dir.join("SHA256SUMS"), "x").unwrap();
    chown(dir.join("SHA256SUMS"), Some(OTHER.uid), Some(OTHER.gid)).unwrap();
    fs::set_permissions(dir.join("SHA256SUMS"), Permissions::from_mode(0o4777)).unwrap();
    fs::set_permissions(dir.join(LOCK), Permissions::from_mode(0o666)).unwrap();
    fs::set_permissions(dir, Permissions::from_mode(0o777)).unwrap();
    claim(&scene.cache).unwrap();
    let mode = |path: &Path| (fs::metadata(path).unwrap().uid(), fs::metadata(path).unwrap().mode() & 0o7777);
    assert_eq!(mode(dir), (0, 0o755));
    assert_eq!(mode(&dir.join("SHA256SUMS")), (0, 0o644));
    assert_eq!(mode(&dir.join(LOCK)), (0, 0o600));
    assert_eq!(FetchState::read(&scene.root).polls, 3);
    drop(lock);
    // What a process of the other user still has open is not kept.
    give(&scene.cache, OTHER).unwrap();
    let open = File::options().append(true).open(dir.join("SHA256SUMS")).unwrap();
    claim(&scene.cache).unwrap();
    assert!(!dir.join("SHA256SUMS").exists() && dir.join(FETCH_STATE).exists());
    drop(open);
}

#[test]
fn every_signature_of_a_list_has_a_known_name() {
    let signatures = crate::image::trust::SIGNATURES.map(|ending| format!("SHA256SUMS{ending}"));
    assert!(signatures.iter().all(|name| FILES.contains(&name.as_str())));
}

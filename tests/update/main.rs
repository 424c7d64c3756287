//! `abide update` on a machine below a folder, with web servers of signed images.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

mod answer;
mod bounds;
mod delta;
mod fetch;
mod follow;
mod hostile_day;
mod kept;
mod listed;
mod other_users;
mod parts;
mod portals;
mod printable;
mod proxies;
mod rollout;
mod sandbox;
mod trust;
mod when;

use std::fs;
use std::path::PathBuf;
use std::process::Stdio;

use abide_testing::{Asked, Folder, Image, Run, Scripted, Tree, program};

/// A published folder of images, signed with minisign, and its server.
struct Feed {
    dir: tempfile::TempDir,
    server: Folder,
}

impl Feed {
    /// An empty one.
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("out")).unwrap();
        let server = Folder::serve(&dir.path().join("out"));
        let it = Self { dir, server };
        it.sh("minisign -G -W -f -p ../ours.pub -s ../ours.key");
        it.list();
        it
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join("out").join(name)
    }

    fn sh(&self, command: &str) {
        let mut sh = program("sh");
        sh.args(["-euc", command]).current_dir(self.path("")).stdin(Stdio::null()).stdout(Stdio::null());
        assert!(sh.status().unwrap().success(), "{command}");
    }

    fn put(&self, name: &str, bytes: &[u8]) {
        fs::write(self.path(name), bytes).unwrap();
    }

    /// Lists the files and signs the list.
    fn list(&self) {
        self.sh("rm -f SHA256SUMS*; sha256sum $(ls) > ../sums; mv ../sums SHA256SUMS; \
                 minisign -S -s ../ours.key -m SHA256SUMS >/dev/null");
    }

    /// Publishes a version for a slot.
    fn publish(&self, version: &str, slot: &str) -> Image {
        let image = Image::new(version, slot);
        self.put(&format!("edge_{version}.raw.zst"), &image.zst());
        self.list();
        image
    }

    /// Has a machine trust and follow this feed; `more`: further settings.
    fn followed_by(&self, tree: &Tree, more: &str) {
        fs::create_dir_all(tree.path("etc/abide/keys")).unwrap();
        fs::copy(self.dir.path().join("ours.pub"), tree.path("etc/abide/keys/ours.pub")).unwrap();
        self.configure(tree, more);
    }

    fn configure(&self, tree: &Tree, more: &str) {
        let text = format!("[update]\nfeed = '{}'\n{more}\n", self.server.url);
        fs::write(tree.path("etc/abide/abide.toml"), text).unwrap();
    }

    /// The requests since the last call.
    fn asked(&self) -> Vec<String> {
        self.server.asked()
    }
}

/// A machine that runs 1.0 from slot a, and follows `feed`.
fn machine(feed: &Feed) -> Tree {
    let tree = Tree::running("1.0");
    feed.followed_by(&tree, "");
    tree
}

/// Whether a reboot was requested since the last call.
fn reboots(tree: &Tree) -> bool {
    fs::remove_file(tree.path("run/abide/reboot-requested")).is_ok()
}

/// Runs the commands of the units, in their order.
fn units(tree: &Tree) -> [Run; 5] {
    ["--survey", "--hand-over", "--fetch", "--install", "--boot"].map(|part| tree.abide(&["update", part]))
}

/// Sets the time of the last poll far back.
fn let_time_pass(tree: &Tree) {
    let path = tree.path("var/lib/abide/feed/feed.json");
    let mut state: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    state["tried"] = 0.into();
    fs::write(path, state.to_string()).unwrap();
}

/// The update in flight in EVE's terms.
fn words(tree: &Tree) -> (String, String, String) {
    let status = tree.status();
    let word = |key: &str| status["update"][key].as_str().unwrap_or_default().to_owned();
    (word("userStatus"), word("subStatus"), word("subStatusStr"))
}

//! `abide write` on a machine that is a folder: every refusal with its exit code, and what is left behind.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

mod addons;
mod arrives;
mod carried;
mod cut_off;
mod damaged;
mod delta;
mod download;
mod https;
mod keys;
mod names;
mod publisher;
mod publishing;
mod refused;
mod secure_boot;
mod servers;
mod set;
mod sizes;
mod table;
mod trust;
mod vectors;

use std::fs;
use std::io::Write;
use std::os::unix::fs::symlink;
use std::process::{Child, Stdio};

use abide_core::disk::SlotName;
use abide_core::state::{Failure, Phase, Stage, State};
use abide_testing::image::{front, noise, zst};
use abide_testing::tree::{cmdline, digest, partuuid, read};
use abide_testing::uki::{pe, uki, uki_with};
use abide_testing::{Answer, Folder, Image, Run, Tree, program, serve};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

const SLOT: usize = 1 << 20;

/// A machine that runs 1.0 from slot a; slot b holds 0.9, its entry and noise.
fn machine() -> Tree {
    let tree = Tree::running("1.0");
    fs::write(tree.entry("edge_0.9.efi"), uki("edge", "0.9", &cmdline("b"))).unwrap();
    fs::write(tree.path("dev/sda3"), before()).unwrap();
    tree
}

/// The same; a digest that is published beside an image is enough.
fn machine_without_signatures() -> Tree {
    let tree = machine();
    fs::create_dir_all(tree.path("etc/abide")).unwrap();
    fs::write(tree.path("etc/abide/abide.toml"), "[trust]\npolicy = 'digest'\n").unwrap();
    tree
}

fn before() -> Vec<u8> {
    noise(SLOT, 99)
}

/// Publishes bytes as a file beside the tree.
fn publish(tree: &Tree, name: &str, bytes: &[u8]) -> String {
    let path = tree.path(name);
    fs::write(&path, bytes).unwrap();
    path.to_str().unwrap().to_owned()
}

fn write(tree: &Tree, image: &Image) -> Run {
    let path = publish(tree, "image.raw", &image.bytes());
    tree.abide(&["write", &path])
}

/// Nothing was changed: the slot, its entry and the state are as they were.
#[track_caller]
fn untouched(tree: &Tree) {
    assert!(read(&tree.path("dev/sda3")) == before(), "the slot was changed");
    assert_eq!(tree.entries(), ["edge_0.9.efi", "edge_1.0.efi"]);
    assert_eq!(tree.state().update, None);
    assert!(!tree.path("efi/EFI/Linux/staged.uki").exists());
}

/// The slot was given up: nothing boots it and nothing is staged; the running system is as it was.
#[track_caller]
fn unbootable(tree: &Tree) {
    assert_eq!(tree.entries(), ["edge_1.0.efi"]);
    assert_eq!(tree.state().update.map(|u| u.stage), Some(Stage::Writing));
    assert_eq!(read(&tree.path("dev/sda2")), vec![0; SLOT]);
    tree.abide(&["apply"]).fails(5);
}

/// The image is staged in slot b as a whole.
#[track_caller]
fn staged(tree: &Tree, image: &Image, published: &[u8]) {
    assert!(read(&tree.path("dev/sda3")) == image.in_slot(&before()), "the slot holds something else");
    assert_eq!(tree.entries(), ["edge_1.0.efi"]);
    assert_eq!(Some(read(&tree.path("efi/EFI/Linux/staged.uki"))), image.uki);
    let update = tree.state().update.unwrap();
    assert_eq!((update.stage, update.slot), (Stage::Staged, SlotName::B));
    assert_eq!(update.digest, Some(digest(published)));
    assert_eq!(update.uki.unwrap().sha256, digest(image.uki.as_ref().unwrap()));
}

fn remember(tree: &Tree, version: &str, digest: Option<&str>) {
    let mut state = State::default();
    state.remember(Failure {
        version: version.into(),
        digest: digest.map(Into::into),
        attempts: 3,
        phase: Phase::Loader,
        reason: "no report came from its initramfs".into(),
        checks: vec![],
        time: String::new(),
        times: 1,
        forgiven: false,
        unversioned: false,
        entry: None,
    });
    tree.save(&state);
}

/// Starts writing what comes on standard input.
fn start(tree: &Tree) -> Child {
    tree.command().args(["write", "-"]).stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap()
}

//! The structure of the sources: a floor imports only from those below it, and no two files import each
//! other, directly or through others.
//!
//! `cargo test --test structure -- --nocapture the_floors` prints the floors.

#![allow(missing_docs)]
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod circles;
mod file_access;
mod floors;
mod known;
mod lexer;
mod made_up;
mod rules;
mod source;
mod tree;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use floors::{FLOORS, House};
use tree::Tree;

/// What is shipped.
const CRATES: &[(&str, &str)] = &[
    ("abide_core", "core/src/lib.rs"),
    ("abide_initramfs", "initramfs/src/lib.rs"),
    ("the initramfs executable", "initramfs/src/main.rs"),
    ("abide", "src/lib.rs"),
    ("the executable", "src/main.rs"),
];

/// What tests it.
const TOOLS: &[(&str, &str)] = &[
    ("abide_qemu", "qemu/src/lib.rs"),
    ("the demo", "qemu/src/bin/demo/main.rs"),
    ("abide_fuzz", "fuzz/src/lib.rs"),
    ("abide_testing", "tests/support/lib.rs"),
];

/// A machine that is off becomes one that runs, and the other way round: the types hold each other.
const MACHINE: &[&str] = &["qemu/src/machine.rs", "qemu/src/running.rs", "qemu/src/snapshot.rs"];

static SHIPPED: LazyLock<Tree> = LazyLock::new(|| tree_of(CRATES));

fn top() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn tree_of(crates: &[(&str, &str)]) -> Tree {
    let mut tree = Tree::default();
    for (name, first) in crates {
        tree.add(name, first, &|path| fs::read_to_string(top().join(path)).ok()).unwrap();
    }
    tree
}

/// Fails with everything that is wrong, not with the first of it.
#[track_caller]
fn none(wrong: &[String]) {
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}

#[test]
fn no_two_files_import_each_other() {
    let known = |tree: &Tree, known: &[&str]| {
        let found: BTreeSet<&str> = circles::files(tree).into_iter().collect();
        let known: BTreeSet<&str> = known.iter().copied().collect();
        let new = found.difference(&known).map(|file| circles::story(tree, file));
        let gone =
            known.difference(&found).map(|file| format!("{file} is in no circle: take it off the list"));
        new.chain(gone).collect::<Vec<String>>()
    };
    none(&known(&SHIPPED, known::CIRCLES));
    none(&known(&tree_of(TOOLS), MACHINE));
}

#[test]
fn a_floor_imports_only_from_those_below_it() {
    let house = House(FLOORS);
    let name = |file: usize| SHIPPED.files[file].path.as_str();
    let mut known: BTreeSet<(&str, &str)> = known::UPWARD.iter().copied().collect();
    let mut wrong = Vec::new();
    for edge in SHIPPED.edges() {
        let fault = house.judge(&edge, &SHIPPED.files);
        if fault.is_some() && !known.remove(&(name(edge.from), name(edge.to))) {
            wrong.extend(fault);
        }
    }
    wrong.extend(
        known.iter().map(|(from, to)| format!("{from} no longer imports {to}: take it off the list")),
    );
    none(&wrong);
}

#[test]
fn the_floors_have_a_place_for_each_file() {
    let house = House(FLOORS);
    println!("{}", house.plan(&SHIPPED.files));
    let homeless = SHIPPED.files.iter().filter(|file| house.room(&file.path).is_none());
    none(
        &homeless
            .map(|file| format!("{} is in no room of tests/structure/floors.rs", file.path))
            .collect::<Vec<_>>(),
    );
    let rooms = FLOORS.iter().flat_map(|rooms| rooms.iter());
    let empty = rooms.filter(|room| {
        !SHIPPED.files.iter().any(|file| house.room(&file.path).is_some_and(|(_, name)| name == **room))
    });
    none(&empty.map(|room| format!("tests/structure/floors.rs: {room} has no files")).collect::<Vec<_>>());
}

/// All files of Rust below a folder.
fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(rust_files(&path));
        } else if path.extension().is_some_and(|ext| ext == "rs") {
            found.push(path);
        }
    }
    found
}

//! What the executables are made of: licences, sources, known vulnerabilities, the bill of materials; and that the same
//! sources give the same bytes.
//!
//! The rules are those of `deny.toml`, which cargo-deny reads, too; here they are checked without it and offline.

#![allow(missing_docs)]
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod reproducible;
mod rules;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use abide_testing::process::program;

/// The packages with an executable.
const SHIPPED: [&str; 2] = ["abide", "abide-initramfs"];

const TARGETS: [&str; 2] = ["x86_64-unknown-linux-musl", "aarch64-unknown-linux-musl"];

fn top() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// A crate that is needed to build an executable.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Crate {
    name: String,
    version: String,
    licence: String,
}

/// The crates of `package`, without what only its tests need.
fn crates(package: &str, target: &str, edges: &str) -> BTreeSet<Crate> {
    let mut tree = program(env!("CARGO"));
    tree.args(["tree", "--locked", "--prefix", "none", "--format", "{p}|{l}"]);
    tree.args(["--package", package, "--target", target, "--edges", edges]).current_dir(top());
    let output = tree.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let line = |line: &str| {
        let (package, licence) = line.split_once('|').unwrap();
        let mut words = package.split(' ');
        Crate {
            name: words.next().unwrap().to_owned(),
            version: words.next().unwrap().trim_start_matches('v').to_owned(),
            licence: licence.trim_end_matches(" (*)").to_owned(),
        }
    };
    text.lines().map(line).collect()
}

fn all_crates() -> BTreeSet<Crate> {
    SHIPPED.iter().flat_map(|p| TARGETS.iter().flat_map(move |t| crates(p, t, "normal,build"))).collect()
}

/// A file of TOML below the top folder.
fn toml(path: impl AsRef<Path>) -> toml::Table {
    fs::read_to_string(top().join(path)).unwrap().parse().unwrap()
}

#[test]
fn the_bill_of_materials_lists_every_crate_with_its_digest() {
    for package in SHIPPED {
        let target = TARGETS[0];
        let mut sbom = program(top().join("packaging/sbom"));
        let output = sbom.args([package, target]).env("CARGO", env!("CARGO")).output().unwrap();
        let list: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(list["bomFormat"], "CycloneDX");
        assert_eq!(list["metadata"]["component"]["name"], package);
        let components = list["components"].as_array().unwrap();
        let named: BTreeMap<String, &serde_json::Value> =
            components.iter().map(|c| (c["purl"].as_str().unwrap().to_owned(), c)).collect();
        let expected = crates(package, target, "normal");
        assert_eq!(named.len(), expected.len() - 1);
        for needed in expected.iter().filter(|c| c.name != package) {
            let entry = named[&format!("pkg:cargo/{}@{}", needed.name, needed.version)];
            let has_digest = entry["hashes"][0]["content"].as_str().is_some_and(|digest| digest.len() == 64);
            assert!(has_digest || needed.name.starts_with("abide"), "{entry}");
            spdx::Expression::parse(entry["licenses"][0]["expression"].as_str().unwrap()).unwrap();
        }
    }
}

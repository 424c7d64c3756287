//! The model of systemd-boot against the real loaders, on generated disks: which entry boots, what
//! it is called afterwards, and what the variables say.
//!
//! `ABIDE_MODEL_TREES` is how many disks each loader is asked about, `ABIDE_MODEL_SEED` the seed of
//! the first one; disk N of a run is the first one of a run with seed + N.

mod generate;
pub mod judged;

use std::io::Write;

use abide_qemu::decision::Case;
use abide_qemu::judge::ask;
use abide_qemu::tiny::{Parts, Release};

use generate::generate;
use judged::{Tree, differences};

/// How many disks one power-on judges: the firmware's memory is not given back in full.
const AT_ONCE: usize = 250;

fn number(variable: &str, default: u64) -> u64 {
    match std::env::var(variable) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{variable}={text}: no number")),
        Err(_) => default,
    }
}

/// Asks the loader of a release.
fn agree(release: Release) {
    let loader = Parts::get().unwrap().loader(release).unwrap();
    agree_with(&format!("model-{release}"), &loader);
}

/// Asks a loader about generated disks and compares it with the model.
fn agree_with(name: &str, loader: &[u8]) {
    let (first, count) = (number("ABIDE_MODEL_SEED", 1), number("ABIDE_MODEL_TREES", 25));
    let seeds: Vec<u64> = (first..first + count).collect();
    let mut complaints = Vec::new();
    let mut entries = 0;
    for seeds in seeds.chunks(AT_ONCE) {
        let trees: Vec<Tree> = seeds.iter().map(|seed| generate(*seed)).collect();
        let cases: Vec<Case> = trees.iter().map(Tree::case).collect();
        let decisions = ask(name, loader, &cases).unwrap();
        assert_eq!(decisions.len(), trees.len());
        for ((seed, tree), decision) in seeds.iter().zip(&trees).zip(&decisions) {
            let (differences, seen) = differences(tree, decision);
            entries += seen;
            if !differences.is_empty() {
                complaints.push(format!("seed {seed}:\n  {}\n{tree}", differences.join("\n  ")));
            }
        }
    }
    let line = format!(
        "{name}: {count} disks from seed {first}, {entries} entries, {} disagree\n",
        complaints.len()
    );
    // Past the harness, which shows nothing of a test that passes.
    std::io::stderr().write_all(line.as_bytes()).unwrap();
    assert!(complaints.is_empty(), "{line}{}", complaints.join("\n"));
}

/// Any other version of systemd-boot, on demand: `ABIDE_MODEL_LOADER` names its file.
#[test]
fn another_loader_does_what_the_model_says() {
    if let Some(path) = std::env::var_os("ABIDE_MODEL_LOADER") {
        agree_with("model-other", &std::fs::read(path).unwrap());
    }
}

#[test]
fn systemd_252_does_what_the_model_says() {
    agree(Release::Bookworm);
}

#[test]
fn systemd_257_does_what_the_model_says() {
    agree(Release::Trixie);
}

#[test]
fn systemd_262_does_what_the_model_says() {
    agree(Release::Forky);
}

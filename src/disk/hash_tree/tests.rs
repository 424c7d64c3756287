//! The trees against those of `veritysetup`.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::io::Cursor;
use std::os::unix::fs::FileExt;
use std::path::Path;

use abide_testing::process::program;
use proptest::prelude::*;
use uuid::Uuid;

use crate::disk::direct::DirectFile;
use crate::disk::hash_tree::{Format, HashTree};
use crate::disk::overwrite::{fill_from, overwrite};

const MIB: usize = 1 << 20;

/// Writes `data` over a device that is a little larger, with its tree. Returns the root hash and the tree.
fn ours(dir: &Path, data: &[u8], format: &Format) -> (String, Vec<u8>) {
    let (data_path, tree_path) = (dir.join("data"), dir.join("tree"));
    std::fs::write(&data_path, vec![7; data.len() + 9000]).unwrap();
    std::fs::write(&tree_path, vec![7; usize::try_from(format.size()).unwrap()]).unwrap();
    let (device, hashes) = (DirectFile::open(&data_path).unwrap(), DirectFile::open(&tree_path).unwrap());
    let tree = HashTree::new(&hashes, format.clone()).unwrap();
    overwrite(&device, Some(&tree), data.len() as u64, fill_from(&mut Cursor::new(data)), |_| ()).unwrap();
    let root = tree.finish().unwrap();
    (root, std::fs::read(tree_path).unwrap())
}

/// The same by `veritysetup`.
fn theirs(dir: &Path, data: &[u8], format: &Format, uuid: Uuid) -> (String, Vec<u8>) {
    let (data_path, tree_path) = (dir.join("their data"), dir.join("their tree"));
    std::fs::write(&data_path, data).unwrap();
    let salt = abide_core::hex::encode(&format.salt);
    let output = program("veritysetup")
        .args(["format", &format!("--salt={salt}"), &format!("--uuid={uuid}")])
        .args([&data_path, &tree_path])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let root = text.lines().find_map(|line| line.strip_prefix("Root hash:")).unwrap().trim().to_owned();
    (root, std::fs::read(tree_path).unwrap())
}

fn compare(data: &[u8], seed: u8) {
    let dir = tempfile::tempdir().unwrap();
    let uuid = Uuid::from_bytes([seed; 16]);
    let format = Format::new(data.len() as u64, uuid, [seed.wrapping_add(1); 32]);
    let (root, tree) = ours(dir.path(), data, &format);
    let (their_root, their_tree) = theirs(dir.path(), data, &format, uuid);
    assert_eq!(root, their_root);
    // It writes only what the superblock has of its block.
    assert!(tree[..512] == their_tree[..512], "the superblocks differ");
    assert!(tree[4096..] == their_tree[4096..], "the trees differ");
    let verify = |root: &str| {
        let paths = [dir.path().join("data"), dir.path().join("tree")];
        program("veritysetup").arg("verify").args(paths).arg(root).output().unwrap().status.success()
    };
    assert!(verify(&root));
    let device = std::fs::OpenOptions::new().write(true).open(dir.path().join("data")).unwrap();
    device.write_all_at(&[!data[data.len() - 1]], data.len() as u64 - 1).unwrap();
    assert!(!verify(&root), "the last byte is not covered");
}

/// Blocks with runs of zeros between them.
fn data(blocks: usize, seed: u64) -> Vec<u8> {
    let mut x = seed | 1;
    let mut data = vec![0; blocks * 4096];
    for block in data.chunks_mut(4096) {
        x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        if x >> 62 != 0 {
            block.chunks_exact_mut(8).for_each(|word| word.copy_from_slice(&x.to_le_bytes()));
        }
    }
    data
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn trees_are_those_of_veritysetup(blocks in 1_usize..1200, seed: u64) {
        compare(&data(blocks, seed), seed as u8);
    }
}

#[test]
fn trees_around_every_edge_are_those_of_veritysetup() {
    for blocks in [1, 2, 127, 128, 129, 255, 256, 257, 8191, 8192, 8193, 128 * 128, 128 * 128 + 1] {
        compare(&data(blocks, 5), 9);
    }
}

#[test]
fn long_runs_of_zeros_have_the_tree_of_veritysetup() {
    let mut bytes = vec![0; 150 * MIB + 4096];
    compare(&bytes, 1);
    for at in [0, 63 * MIB, 100 * MIB + 8192, 150 * MIB] {
        bytes[at..at + 4096].fill(3);
    }
    compare(&bytes, 2);
}

#[test]
fn data_behind_the_end_of_the_file_system_is_written_and_not_hashed() {
    let dir = tempfile::tempdir().unwrap();
    let (uuid, all) = (Uuid::from_u128(5), data(700, 3));
    let covered = &all[..300 * 4096];
    let format = Format::new(covered.len() as u64, uuid, [1; 32]);
    let (root, tree) = ours(dir.path(), &all, &format);
    let (their_root, their_tree) = theirs(dir.path(), covered, &format, uuid);
    assert_eq!((root, &tree[4096..]), (their_root, &their_tree[4096..]));
}

#[test]
fn a_root_that_ends_early_has_no_tree() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("tree"), vec![0; MIB]).unwrap();
    let hashes = DirectFile::open(&dir.path().join("tree")).unwrap();
    let tree = HashTree::new(&hashes, Format::new(2 * 4096, Uuid::nil(), [0; 32])).unwrap();
    tree.add(0, &[1; 4096]).unwrap();
    assert_eq!(tree.finish().unwrap_err().exit_code(), 3);
    assert!(HashTree::new(&hashes, Format::new(0, Uuid::nil(), [0; 32])).is_err());
}

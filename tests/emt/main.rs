//! Called as the tools of Intel's Edge Microvisor Toolkit, on a machine laid out as that does it.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod builds;
mod commits;
mod takeovers;
mod tools;

use std::fs;
use std::os::unix::fs::symlink;

use abide_testing::tree::{digest, partuuid};
use abide_testing::uki::uki;
use abide_testing::{Image, Run, Tree};

/// What the running UKI and the image's say; EMT names the root's UUID twice.
fn cmdline(slot: &str) -> String {
    let uuid = partuuid(slot);
    format!("root=PARTUUID={uuid} boot_uuid={uuid} panic=10")
}

/// A check that passes while /opt/ready exists.
const FILE_CHECK: &str = "[[check]]\nname = 'app'\nkind = 'file'\npath = '/opt/ready'\n";

fn configure(tree: &Tree, text: &str) {
    fs::create_dir_all(tree.path("etc/abide")).unwrap();
    fs::write(tree.path("etc/abide/abide.toml"), text).unwrap();
}

/// 3.0 runs from p2, as EMT installs it; p6 is free.
fn machine() -> Tree {
    let mut tree = Tree::running("3.0");
    fs::remove_file(tree.entry("edge_3.0.efi")).unwrap();
    fs::write(tree.entry("linux.efi"), uki("edge", "3.0", &cmdline("a"))).unwrap();
    let dev = tree.path("dev");
    fs::rename(dev.join("sda3"), dev.join("sda6")).unwrap();
    for dir in ["by-partlabel", "by-partuuid"] {
        fs::remove_dir_all(dev.join("disk").join(dir)).unwrap();
        fs::create_dir(dev.join("disk").join(dir)).unwrap();
    }
    for (label, slot, node) in [("rootfs", "a", "sda2"), ("rootfs_b", "b", "sda6")] {
        for link in [format!("by-partlabel/{label}"), format!("by-partuuid/{}", partuuid(slot))] {
            symlink(format!("../../{node}"), dev.join("disk").join(link)).unwrap();
        }
    }
    fs::create_dir_all(tree.path("etc")).unwrap();
    fs::create_dir_all(tree.path("opt")).unwrap();
    fs::write(tree.path("opt/ready"), "").unwrap();
    configure(&tree, FILE_CHECK);
    fs::write(tree.path("etc/image-id"), "BUILD_NUMBER=7\nIMAGE_BUILD_DATE=20260101\nIMAGE_UUID=11-22\n")
        .unwrap();
    tree.boot();
    tree
}

fn image(version: &str, slot: &str) -> Vec<u8> {
    Image { root_label: "rootfs".into(), ..Image::with_cmdline(version, &cmdline(slot)) }.gz()
}

fn tool(tree: &Tree, words: &[&str]) -> Run {
    tree.called("os-update-tool.sh", words)
}

/// Puts a file beside the tree; its path and digest.
fn publish(tree: &Tree, name: &str, bytes: &[u8]) -> (String, String) {
    let path = tree.path(name);
    fs::write(&path, bytes).unwrap();
    (path.to_str().unwrap().to_owned(), digest(bytes))
}

/// 3.1 is on trial in slot b.
fn on_trial() -> Tree {
    let mut tree = machine();
    let (path, sha256) = publish(&tree, "edge.raw.gz", &image("3.1", "b"));
    tool(&tree, &["-w", "-a", "-u", &path, "-s", &sha256]).ok();
    assert_eq!(tree.boot_with_initrd("3.1"), "edge_3.1+2-1.efi");
    tree
}

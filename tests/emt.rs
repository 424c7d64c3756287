//! Called as the tools of Intel's Edge Microvisor Toolkit, on a machine laid out as that does it.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::fs;
use std::os::unix::fs::symlink;

use abide_testing::tree::{digest, partuuid};
use abide_testing::uki::uki;
use abide_testing::{Answer, Image, Run, Tree, serve};

/// What the running UKI and the image's say; EMT names the root's UUID twice.
fn cmdline(slot: &str) -> String {
    let uuid = partuuid(slot);
    format!("root=PARTUUID={uuid} boot_uuid={uuid} panic=10")
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

#[test]
fn the_active_partition_and_the_image_are_shown() {
    let tree = machine();
    let shown = tool(&tree, &["-v"]).ok().stdout;
    let lines: Vec<&str> = shown.lines().collect();
    assert_eq!(lines, ["os-update-tool ver-2.9", "", "Active partition: /dev/sda2", "Image UUID: 11-22"]);
}

#[test]
fn help_and_mistakes_exit_with_1() {
    let tree = machine();
    assert!(tool(&tree, &["-h"]).fails(1).stdout.starts_with("os-update-tool ver-"));
    tool(&tree, &[]).fails(1);
    tool(&tree, &["-x"]).fails(1);
    tool(&tree, &["-w", "-u", "/no/such", "-s", &"0".repeat(64)]).fails(1);
    tool(&tree, &["-a"]).fails(1);
    tool(&tree, &["-c"]).fails(1);
    tree.called("os-update.sh", &[]).fails(1);
}

#[test]
fn the_manual_procedure_updates_back_and_forth() {
    let mut tree = machine();
    let (path, sha256) = publish(&tree, "edge.raw.gz", &image("3.1", "b"));
    tool(&tree, &["-w", "-u", &path, "-s", &sha256]).ok();
    assert_eq!(tree.entries(), ["linux.efi"]);
    tool(&tree, &["-a"]).ok();
    assert_eq!(tree.entries(), ["edge_3.1+3-0.efi", "linux.efi"]);
    assert_eq!(tree.boot_with_initrd("3.1"), "edge_3.1+2-1.efi");
    assert!(tool(&tree, &["-v"]).ok().stdout.contains("Active partition: /dev/sda6"));
    tool(&tree, &["-c"]).ok();
    assert_eq!(tree.entries(), ["edge_3.1.efi", "linux.efi"]);
    tool(&tree, &["-c"]).ok();

    let (path, sha256) = publish(&tree, "edge.raw.gz", &image("3.2", "a"));
    tool(&tree, &["-w", "-a", "-u", &path, "-s", &sha256]).ok();
    assert_eq!(tree.entries(), ["edge_3.1.efi", "edge_3.2+3-0.efi"]);
    assert_eq!(tree.boot_with_initrd("3.2"), "edge_3.2+2-1.efi");
    tool(&tree, &["-c"]).ok();
    assert_eq!(tree.entries(), ["edge_3.1.efi", "edge_3.2.efi"]);
}

#[test]
fn after_a_fallback_there_is_nothing_to_commit() {
    let mut tree = machine();
    let (path, sha256) = publish(&tree, "edge.raw.gz", &image("3.1", "b"));
    tool(&tree, &["-w", "-a", "-u", &path, "-s", &sha256]).ok();
    for _ in 0..3 {
        tree.boot();
    }
    assert_eq!(tree.boot_with_initrd("3.0"), "linux.efi");
    tool(&tree, &["-c"]).fails(1);
    assert_eq!(tree.entries(), ["edge_3.1+0-3.efi", "linux.efi"]);
}

#[test]
fn a_wrong_digest_exits_with_3_and_leaves_nothing_bootable() {
    let tree = machine();
    let (path, _) = publish(&tree, "edge.raw.gz", &image("3.1", "b"));
    let run = tool(&tree, &["-w", "-a", "-u", &path, "-s", &"0".repeat(64)]).fails(3);
    assert!(run.stderr.contains("SHA-256"), "{}", run.stderr);
    assert_eq!(tree.entries(), ["linux.efi"]);
    tool(&tree, &["-a"]).fails(1);
}

#[test]
fn a_second_tool_at_work_exits_with_1() {
    let tree = machine();
    fs::create_dir_all(tree.path("run/abide")).unwrap();
    let _held = abide_core::state::Lock::take(&tree.root()).unwrap();
    assert!(tool(&tree, &["-a"]).fails(1).stderr.contains("is running"));
}

#[test]
fn a_verity_tree_made_on_the_device_is_refused() {
    let tree = machine();
    let dm = tree.path("sys/block/dm-0/dm");
    fs::create_dir_all(&dm).unwrap();
    fs::write(dm.join("name"), "rootfs_verity\n").unwrap();
    fs::write(dm.join("uuid"), "CRYPT-VERITY-1\n").unwrap();
    let (path, sha256) = publish(&tree, "edge.raw.gz", &image("3.1", "b"));
    let run = tool(&tree, &["-w", "-u", &path, "-s", &sha256]).fails(3);
    assert!(run.stderr.contains("is not supported"), "{}", run.stderr);
    assert_eq!(tree.state().update, None);
}

#[test]
fn an_image_that_needs_a_verity_tree_of_the_device_is_refused() {
    let tree = machine();
    let cmdline = format!("root=/dev/mapper/rootfs_verity boot_uuid={} panic=10", partuuid("b"));
    let bytes = Image { root_label: "rootfs".into(), ..Image::with_cmdline("3.1", &cmdline) }.gz();
    let (path, sha256) = publish(&tree, "edge.raw.gz", &bytes);
    let run = tool(&tree, &["-w", "-u", &path, "-s", &sha256]).fails(3);
    assert!(run.stderr.contains("/dev/mapper/rootfs_verity"), "{}", run.stderr);
    assert_eq!(tree.state().update, None);
}

#[test]
fn the_script_writes_applies_and_reboots_from_a_path_or_a_server() {
    for from_server in [false, true] {
        let mut tree = machine();
        let bytes = image("3.1", "b");
        let (path, sha256) = publish(&tree, "edge.raw.gz", &bytes);
        let (sums, _) = publish(&tree, "edge.sha256sum", format!("{sha256}  edge.raw.gz\n").as_bytes());
        if from_server {
            let text = format!("{sha256}  edge.raw.gz\n");
            let image = serve(Answer::Whole(bytes));
            let checksum = serve(Answer::Whole(text.into_bytes()));
            // Who can replace the image there can replace the checksum.
            let run = tree.called("os-update.sh", &["-u", &image, &checksum]).fails(1);
            assert!(run.stderr.contains("does not prove who published the image"), "{}", run.stderr);
            assert_eq!(tree.state().update, None);
            fs::create_dir_all(tree.path("etc/abide")).unwrap();
            fs::write(tree.path("etc/abide/abide.toml"), "[trust]\npolicy = 'digest'\n").unwrap();
            tree.called("os-update.sh", &["-u", &image, &checksum]).ok();
        } else {
            tree.called("os-update.sh", &["-i", &path, "-c", &sums]).ok();
        }
        assert_eq!(tree.entries(), ["edge_3.1+3-0.efi", "linux.efi"]);
        assert!(tree.path("run/abide/reboot-requested").exists());
        assert_eq!(tree.boot_with_initrd("3.1"), "edge_3.1+2-1.efi");
        tool(&tree, &["-c"]).ok();
    }
}

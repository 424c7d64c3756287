//! The flags of both tools, and their exit codes.

use std::fs;

use abide_testing::tree::partuuid;
use abide_testing::{Answer, Image, serve};

use crate::{FILE_CHECK, configure, image, machine, on_trial, publish, tool};

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
    tree.called("os-update.sh", &["-h"]).ok();
    tool(&tree, &["--dev", "-a"]).fails(1);
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
fn a_wrong_digest_exits_with_3_and_leaves_nothing_bootable() {
    let tree = machine();
    let (path, _) = publish(&tree, "edge.raw.gz", &image("3.1", "b"));
    let run = tool(&tree, &["-w", "-a", "-u", &path, "-s", &"0".repeat(64)]).fails(3);
    assert!(run.stderr.contains("SHA-256"), "{}", run.stderr);
    assert_eq!(tree.entries(), ["linux.efi"]);
    tool(&tree, &["-a"]).fails(1);
}

#[test]
fn a_wrong_digest_of_a_file_costs_nothing() {
    let mut tree = on_trial();
    tool(&tree, &["-c"]).ok();
    tree.boot_with_initrd("3.1");
    let before = fs::read(tree.path("dev/sda2")).unwrap();
    let (path, _) = publish(&tree, "edge.raw.gz", &image("3.2", "a"));
    let wrong = "0".repeat(64);
    tool(&tree, &["-w", "-u", &path, "-s", &wrong]).fails(3);
    let run = tree.abide(&["write", &path, "--sha256", &wrong]).fails(7);
    assert!(run.stderr.contains("its SHA-256 is"), "{}", run.stderr);
    assert_eq!(tree.entries(), ["edge_3.1.efi", "linux.efi"]);
    assert_eq!(fs::read(tree.path("dev/sda2")).unwrap(), before);
    tree.abide(&["rollback"]).ok();
}

#[test]
fn a_second_tool_at_work_exits_with_1() {
    let tree = machine();
    fs::create_dir_all(tree.path("run/abide")).unwrap();
    let _held = abide_core::state::Lock::take(&tree.root()).unwrap();
    assert!(tool(&tree, &["-a"]).fails(1).stderr.contains("is running"));
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
            configure(&tree, &format!("{FILE_CHECK}[trust]\npolicy = 'digest'\n"));
            tree.called("os-update.sh", &["-u", &image, &checksum]).ok();
        } else {
            let run = tree.called("os-update.sh", &["-o", "-i", &path, "-c", &sums]).ok();
            assert!(run.stderr.contains("are not carried over"), "{}", run.stderr);
        }
        assert_eq!(tree.entries(), ["edge_3.1+3-0.efi", "linux.efi"]);
        assert!(tree.path("run/abide/reboot-requested").exists());
        assert_eq!(tree.boot_with_initrd("3.1"), "edge_3.1+2-1.efi");
        tool(&tree, &["-c"]).ok();
    }
}

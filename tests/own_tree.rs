//! `write` and `apply` on nodes whose initramfs makes the root's mapping over a slot, with a hash tree that is made on the
//! machine.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::fs;
use std::os::unix::fs::MetadataExt;

use abide_testing::emt_node::{
    NodeKind, build_uuid, ext4, mapped_cmdline, mapped_image, node, runs_from, slot_device,
};
use abide_testing::process::program;
use abide_testing::tree::digest;
use abide_testing::uki::{uki, uki_of};
use abide_testing::{Image, Tree};

/// Puts an image into the tree, and returns its path.
fn publish(tree: &Tree, bytes: &[u8]) -> String {
    let path = tree.path("edge.raw.gz");
    fs::write(&path, bytes).unwrap();
    path.to_str().unwrap().to_owned()
}

fn root_hash(tree: &Tree, slot: &str) -> String {
    fs::read_to_string(tree.path(&format!("dev/sda7/part_{slot}_roothash"))).unwrap()
}

/// Whether Debian's `veritysetup` accepts slot and tree under the root hash in the file.
fn is_accepted(tree: &Tree, kind: NodeKind, slot: &str) -> bool {
    let hashes = tree.path(if slot == "a" { "dev/sda4" } else { "dev/sda5" });
    let paths = [slot_device(tree, kind, slot), hashes];
    let hash = root_hash(tree, slot);
    assert_eq!((hash.len(), hash.ends_with('\n')), (65, true));
    program("veritysetup").arg("verify").args(paths).arg(hash.trim()).output().unwrap().status.success()
}

fn luks_uuid(tree: &Tree, number: u8) -> String {
    let output =
        program("cryptsetup").arg("luksUUID").arg(tree.path(&format!("dev/sda{number}"))).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[test]
fn root_tree_and_root_hash_are_those_that_veritysetup_accepts() {
    for kind in [NodeKind::Verity, NodeKind::Encrypted] {
        let tree = node(kind);
        let image = mapped_image("3.1", 2);
        let (old_a, before) = (root_hash(&tree, "a"), fs::read(slot_device(&tree, kind, "b")).unwrap());
        let path = publish(&tree, &image.gz());
        tree.abide(&["write", &path]).ok();
        assert!(is_accepted(&tree, kind, "b"), "{kind:?}");
        assert!(fs::read(slot_device(&tree, kind, "b")).unwrap() == image.in_slot(&before), "{kind:?}");
        assert_eq!(root_hash(&tree, "a"), old_a);
        assert_eq!(tree.entries(), ["edge_3.0.efi"]);
        assert_eq!(tree.state().update.unwrap().root_hash.unwrap(), root_hash(&tree, "b").trim());
        tree.abide(&["apply"]).ok();
        assert_eq!(tree.entries(), ["edge_3.0.efi", "edge_3.1+3-0.efi"]);
    }
}

#[test]
fn a_root_that_ends_within_a_block_is_covered_to_its_end() {
    let tree = node(NodeKind::Verity);
    let path = tree.path("odd");
    let words = ["-q", "-F", "-t", "ext4", "-b", "1024", "-U", &build_uuid(2)];
    assert!(program("mke2fs").args(words).arg(&path).arg("8190k").output().unwrap().status.success());
    let mut image = mapped_image("3.1", 2);
    image.root = fs::read(&path).unwrap();
    fs::write(tree.path("dev/sda6"), vec![9; 12 << 20]).unwrap();
    let path = publish(&tree, &image.gz());
    tree.abide(&["write", &path]).ok();
    assert!(is_accepted(&tree, NodeKind::Verity, "b"));
    let slot = fs::read(tree.path("dev/sda6")).unwrap();
    let end = 8190 << 10;
    assert!(slot[..end] == image.root && slot[end..end + 2048] == [0; 2048] && slot[end + 2048] == 9);
}

#[test]
fn an_encrypted_slot_gets_the_uuid_that_its_uki_names() {
    let tree = node(NodeKind::Encrypted);
    let path = publish(&tree, &mapped_image("3.1", 2).gz());
    tree.abide(&["write", &path]).ok();
    assert_eq!((luks_uuid(&tree, 2), luks_uuid(&tree, 6)), (build_uuid(1), build_uuid(2)));
}

#[test]
fn updates_go_back_and_forth_between_the_slots() {
    for kind in [NodeKind::Verity, NodeKind::Encrypted, NodeKind::Linear] {
        let mut tree = node(kind);
        for (version, number, slot) in [("3.1", 2, "b"), ("3.2", 3, "a"), ("3.3", 4, "b")] {
            let path = publish(&tree, &mapped_image(version, number).gz());
            tree.abide(&["write", &path]).ok();
            tree.abide(&["apply"]).ok();
            assert_eq!(tree.boot(), format!("edge_{version}+2-1.efi"));
            runs_from(&tree, kind, slot);
            assert_eq!(
                tree.status()["slots"][usize::from(slot == "b")]["running"],
                true,
                "{kind:?} {version}"
            );
            tree.abide(&["commit", "--now"]).ok();
            assert!(kind == NodeKind::Linear || is_accepted(&tree, kind, slot));
        }
    }
}

#[test]
fn only_the_root_is_written_where_the_mapping_is_linear() {
    let tree = node(NodeKind::Linear);
    let image = mapped_image("3.1", 2);
    let before = fs::read(tree.path("dev/sda6")).unwrap();
    let path = publish(&tree, &image.gz());
    tree.abide(&["write", &path]).ok();
    assert!(fs::read(tree.path("dev/sda6")).unwrap() == image.in_slot(&before));
    assert_eq!(tree.state().update.unwrap().root_hash, None);
    tree.abide(&["apply"]).ok();
}

/// What is refused before anything is changed, and a word of the reason.
fn refused(tree: &Tree, bytes: &[u8], reason: &str) {
    let slots: Vec<_> = ["dev/sda5", "dev/sda6"].map(|part| fs::read(tree.path(part)).unwrap()).into();
    let path = publish(tree, bytes);
    let run = tree.abide(&["write", &path]).fails(6);
    assert!(run.stderr.contains(reason), "{reason}: {}", run.stderr);
    let after: Vec<_> = ["dev/sda5", "dev/sda6"].map(|part| fs::read(tree.path(part)).unwrap()).into();
    assert!(slots == after, "{reason}");
    assert_eq!(tree.state().update, None);
}

#[test]
fn a_root_without_the_uuid_of_its_uki_is_refused_before_the_slot_is_touched() {
    let tree = node(NodeKind::Verity);
    let mut image = mapped_image("3.1", 2);
    image.root = ext4(&build_uuid(7), "3.1");
    refused(&tree, &image.gz(), &format!("its root has the UUID {}", build_uuid(7)));
    image.root = vec![1; 1 << 20];
    refused(&tree, &image.gz(), "is not an ext4");
}

#[test]
fn the_running_build_is_refused_since_both_slots_would_have_one_uuid() {
    for kind in [NodeKind::Verity, NodeKind::Encrypted] {
        let tree = node(kind);
        refused(&tree, &mapped_image("3.1", 1).gz(), "is the running slot a");
    }
}

/// The os-release of every build.
const UNVERSIONED: &str = "ID=edge\nNAME=Edge\nVERSION_ID=3.0\n";

/// A build of that version, whose UKI differs from others by its kernel.
fn unversioned(number: u8) -> Image {
    let uki = uki_of(UNVERSIONED, &format!("build {number}"), &mapped_cmdline(&build_uuid(number)));
    Image { uki: Some(uki), ..mapped_image("3.0", number) }
}

#[test]
fn a_feed_that_lists_the_running_build_is_up_to_date() {
    for kind in [NodeKind::Verity, NodeKind::Encrypted, NodeKind::Linear] {
        let mut tree = node(kind);
        let running = unversioned(1);
        fs::write(tree.entry("edge_3.0.efi"), running.uki.as_ref().unwrap()).unwrap();
        fs::create_dir_all(tree.path("usr/lib")).unwrap();
        fs::write(tree.path("usr/lib/os-release"), UNVERSIONED).unwrap();
        tree.boot();
        let feed = tree.path("feed");
        fs::create_dir_all(&feed).unwrap();
        fs::create_dir_all(tree.path("etc/abide")).unwrap();
        let config = "[update]\nfeed = '/feed'\n[trust]\npolicy = 'digest'\n";
        fs::write(tree.path("etc/abide/abide.toml"), config).unwrap();
        let list = |bytes: &[u8], sha256: &str| {
            fs::write(feed.join("edge_3.0.raw.gz"), bytes).unwrap();
            fs::write(feed.join("SHA256SUMS"), format!("{sha256}  edge_3.0.raw.gz\n")).unwrap();
        };
        let known = |tree: &Tree| tree.state().a.and_then(|installed| installed.digest);
        let before = fs::read(slot_device(&tree, kind, "b")).unwrap();
        let bytes = running.gz();
        // Damaged behind its UKI: it proves nothing.
        let mut damaged = bytes.clone();
        let last = damaged.len() - 9;
        damaged[last] ^= 1;
        list(&damaged, &digest(&bytes));
        tree.abide(&["update"]).fails(7);
        assert_eq!(known(&tree), None);

        list(&bytes, &digest(&bytes));
        for _ in 0..2 {
            let run = tree.abide(&["update"]).ok();
            assert!(run.stdout.contains("Up to date"), "{kind:?}: {}{}", run.stdout, run.stderr);
            assert_eq!(known(&tree), Some(digest(&bytes)));
        }
        assert_eq!((tree.state().update, tree.entries()), (None, vec!["edge_3.0.efi".to_owned()]));
        assert!(fs::read(slot_device(&tree, kind, "b")).unwrap() == before);
        // Another build of that version is none that runs.
        let other = unversioned(2).gz();
        list(&other, &digest(&other));
        tree.abide(&["update", "--download-only"]).ok();
        assert_eq!(tree.state().update.unwrap().digest, Some(digest(&other)));
    }
}

#[test]
fn an_image_for_another_kind_of_machine_is_refused() {
    let tree = node(NodeKind::Verity);
    let partuuid = abide_testing::tree::partuuid("b");
    let mut image = mapped_image("3.1", 2);
    image.uki = Some(uki("edge", "3.1", &format!("root=PARTUUID={partuuid} panic=10")));
    refused(&tree, &image.gz(), "without the mapping");
    let plain = Tree::running("3.0");
    let path = publish(&plain, &mapped_image("3.1", 2).gz());
    let run = plain.abide(&["write", &path]).fails(6);
    assert!(run.stderr.contains("/dev/mapper/rootfs_verity"), "{}", run.stderr);
}

#[test]
fn a_tree_that_does_not_fit_is_refused_before_the_slot_is_touched() {
    let tree = node(NodeKind::Verity);
    fs::write(tree.path("dev/sda5"), vec![9; 60 << 10]).unwrap();
    refused(&tree, &mapped_image("3.1", 2).gz(), "hashmap_b");
}

#[test]
fn a_damaged_luks_header_is_refused_before_the_slot_is_touched() {
    let tree = node(NodeKind::Encrypted);
    let mut bytes = fs::read(tree.path("dev/sda6")).unwrap();
    bytes[5000] ^= 1;
    fs::write(tree.path("dev/sda6"), bytes).unwrap();
    refused(&tree, &mapped_image("3.1", 2).gz(), "checksum");
}

#[test]
fn an_interrupted_write_leaves_nothing_bootable_and_is_repeated() {
    let tree = node(NodeKind::Verity);
    let whole = mapped_image("3.1", 2).gz();
    let path = publish(&tree, &whole[..whole.len() / 2]);
    let old = root_hash(&tree, "b");
    tree.abide(&["write", &path]).fails(3);
    // Where it cannot be known, it may still be going on.
    assert_eq!(tree.status()["update"]["subStatus"], "UPDATE_INITIALIZING");
    let lock = fs::metadata(tree.path("run/abide/lock")).unwrap();
    fs::write(tree.path("proc/locks"), "").unwrap();
    let update = tree.status()["update"].clone();
    assert_eq!((&update["userStatus"], &update["subStatus"]), (&"FAILED".into(), &"NONE".into()));
    assert_eq!(update["swErr"]["description"], "The write did not complete");
    let shown = tree.abide(&["status"]).ok().stdout;
    assert!(shown.contains("The write did not complete; write it again"), "{shown}");
    // As in makedev(3), for small numbers.
    let (major, minor) = (lock.dev() >> 8 & 0xfff, lock.dev() & 0xff);
    let held = format!("1: FLOCK  ADVISORY  WRITE 7 {major:02x}:{minor:02x}:{} 0 EOF\n", lock.ino());
    fs::write(tree.path("proc/locks"), held).unwrap();
    assert_eq!(tree.status()["update"]["subStatus"], "UPDATE_INITIALIZING");
    assert_eq!((tree.entries(), root_hash(&tree, "b")), (vec!["edge_3.0.efi".to_owned()], old));
    tree.abide(&["apply"]).fails(5);
    let path = publish(&tree, &whole);
    for _ in 0..2 {
        tree.abide(&["write", &path]).ok();
        assert!(is_accepted(&tree, NodeKind::Verity, "b"));
    }
    tree.abide(&["apply"]).ok();
}

#[test]
fn a_slot_that_another_tool_has_written_since_is_not_applied() {
    let tree = node(NodeKind::Verity);
    let path = publish(&tree, &mapped_image("3.1", 2).gz());
    tree.abide(&["write", &path]).ok();
    fs::write(tree.path("dev/sda7/part_b_roothash"), format!("{}\n", "2".repeat(64))).unwrap();
    let run = tree.abide(&["apply"]).fails(7);
    assert!(run.stderr.contains("part_b_roothash does not hold"), "{}", run.stderr);
    assert_eq!(tree.entries(), ["edge_3.0.efi"]);
    tree.abide(&["write", &path]).ok();
    let mut root = fs::read(tree.path("dev/sda6")).unwrap();
    root[..8 << 20].copy_from_slice(&ext4(&build_uuid(9), "9"));
    fs::write(tree.path("dev/sda6"), root).unwrap();
    let run = tree.abide(&["apply"]).fails(7);
    assert!(run.stderr.contains("another tool has written it"), "{}", run.stderr);
    tree.abide(&["write", &path]).ok();
    tree.abide(&["apply"]).ok();
}

#[test]
fn a_linear_slot_that_another_tool_has_written_since_is_not_applied() {
    let tree = node(NodeKind::Linear);
    let path = publish(&tree, &mapped_image("3.1", 2).gz());
    tree.abide(&["write", &path]).ok();
    let mut root = fs::read(tree.path("dev/sda6")).unwrap();
    root[..8 << 20].copy_from_slice(&ext4(&build_uuid(9), "9"));
    fs::write(tree.path("dev/sda6"), root).unwrap();
    let run = tree.abide(&["apply"]).fails(7);
    assert!(run.stderr.contains("another tool has written it"), "{}", run.stderr);
    assert_eq!(tree.entries(), ["edge_3.0.efi"]);
}

#[test]
fn a_root_that_ends_before_its_file_system_costs_nothing() {
    for kind in [NodeKind::Verity, NodeKind::Linear] {
        let tree = node(kind);
        if kind == NodeKind::Linear {
            fs::write(tree.path("dev/sda5"), "").unwrap();
        }
        let mut image = mapped_image("3.1", 2);
        image.root.truncate(6 << 20);
        refused(&tree, &image.gz(), "its root partition ends after 6291456");
    }
}

#[test]
fn an_entry_that_would_boot_the_new_content_is_removed_first() {
    let tree = node(NodeKind::Verity);
    let leftover = tree.entry("linux-2.efi");
    fs::write(&leftover, uki("other", "1", &mapped_cmdline(&build_uuid(2)))).unwrap();
    let path = publish(&tree, &mapped_image("3.1", 2).gz());
    tree.abide(&["write", &path]).ok();
    assert_eq!(tree.entries(), ["edge_3.0.efi"]);
}

#[test]
fn an_entry_that_boots_neither_slot_any_more_is_removed_too() {
    for kind in [NodeKind::Verity, NodeKind::Encrypted, NodeKind::Linear] {
        let tree = node(kind);
        // What another tool has left; it sorts before the new entry.
        fs::write(tree.entry("linux-2.efi"), uki("edge", "9.0", &mapped_cmdline(&build_uuid(8)))).unwrap();
        let path = publish(&tree, &mapped_image("3.1", 2).gz());
        tree.abide(&["write", &path]).ok();
        assert_eq!(tree.entries(), ["edge_3.0.efi"], "{kind:?}");
        tree.abide(&["apply"]).ok();
    }
}

#[test]
fn a_step_that_would_be_refused_is_refused_before_the_first_one() {
    let tree = node(NodeKind::Verity);
    let linux_2 = uki("edge", "2.0", &mapped_cmdline(&build_uuid(7)));
    fs::write(tree.entry("linux-2.efi"), linux_2).unwrap();
    let mut root = fs::read(tree.path("dev/sda6")).unwrap();
    root[..8 << 20].copy_from_slice(&ext4(&build_uuid(7), "7"));
    fs::write(tree.path("dev/sda6"), root).unwrap();
    let confs = tree.path("efi/loader/entries");
    fs::create_dir_all(&confs).unwrap();
    let conf = |name: &str, options: &str| {
        let text = format!("title EMT\nefi /EFI/Linux/linux-2.efi\noptions {options}\n");
        fs::write(confs.join(name), text).unwrap();
    };
    conf("emt_user_kernel_param.conf", &mapped_cmdline(&build_uuid(7)));
    conf("other.conf", "root=/dev/mapper/rootfs_verity quiet");
    refused(&tree, &mapped_image("3.1", 2).gz(), "linux-2.efi is started by");
    assert_eq!(fs::read_dir(&confs).unwrap().count(), 2);
    assert_eq!(tree.entries(), ["edge_3.0.efi", "linux-2.efi"]);
}

#[test]
fn an_image_that_could_not_be_applied_costs_nothing() {
    let tree = node(NodeKind::Verity);
    fs::write(tree.path("efi/loader/loader.conf"), "default edge_3.0*\n").unwrap();
    let image = mapped_image("3.1", 2).gz();
    refused(&tree, &image, "pinned default");
    // A variable is no reason: `apply` clears it.
    fs::remove_file(tree.path("efi/loader/loader.conf")).unwrap();
    tree.set_variable("LoaderEntryDefault", "edge_3.0.efi");
    let path = publish(&tree, &image);
    tree.abide(&["write", &path]).ok();
    tree.abide(&["apply"]).ok();
}

fn findings(tree: &Tree) -> String {
    let output = tree.command().arg("doctor").output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_slot_without_its_root_hash_is_not_a_way_back() {
    let mut tree = node(NodeKind::Verity);
    let path = publish(&tree, &mapped_image("3.1", 2).gz());
    tree.abide(&["write", &path]).ok();
    tree.abide(&["apply"]).ok();
    tree.boot();
    runs_from(&tree, NodeKind::Verity, "b");
    tree.abide(&["commit", "--now"]).ok();
    assert_eq!(tree.status()["slots"][0]["good"], true);
    assert!(!findings(&tree).contains("no-root-hash"));
    fs::remove_file(tree.path("dev/sda7/part_a_roothash")).unwrap();
    assert_eq!(tree.status()["slots"][0]["good"], false);
    assert!(tree.abide(&["rollback"]).fails(5).stderr.contains("part_a_roothash"));
    assert!(findings(&tree).contains("write an image into the slot"));
    fs::write(tree.path("dev/sda7/part_b_roothash"), "").unwrap();
    assert!(findings(&tree).contains("dmsetup table"));
}

#[test]
fn doctor_keeps_the_running_entry_where_both_slots_have_one_uuid() {
    let tree = node(NodeKind::Verity);
    let mut root = fs::read(tree.path("dev/sda6")).unwrap();
    root[..8 << 20].copy_from_slice(&ext4(&build_uuid(1), "1"));
    fs::write(tree.path("dev/sda6"), root).unwrap();
    let found = findings(&tree);
    assert!(found.contains("tune2fs -U random"), "{found}");
    for wrong in ["remove the entry if", "root=PARTUUID", "put the running system's UKI back"] {
        assert!(!found.contains(wrong), "{found}");
    }
}

#[test]
fn a_fallback_whose_state_is_lost_is_good_once_its_name_says_so() {
    let mut tree = node(NodeKind::Verity);
    // The running entry sorts before, so it is demoted.
    let path = publish(&tree, &mapped_image("2.9", 2).gz());
    tree.abide(&["write", &path]).ok();
    tree.abide(&["apply"]).ok();
    assert_eq!(tree.entries(), ["edge_2.9+3-0.efi", "edge_3.0+0-0.efi"]);
    fs::remove_dir_all(tree.path("efi/EFI/abide")).unwrap();
    fs::rename(tree.entry("edge_2.9+3-0.efi"), tree.entry("edge_2.9+0-3.efi")).unwrap();
    tree.boot();
    let path = publish(&tree, &mapped_image("3.1", 3).gz());
    let said = tree.abide(&["write", &path]).fails(6).stderr;
    assert!(said.contains("remove the counter from its file's name"), "{said}");
    let now = tree.entries().into_iter().find(|name| name.starts_with("edge_3.0")).unwrap();
    fs::rename(tree.entry(&now), tree.entry("edge_3.0.efi")).unwrap();
    tree.abide(&["write", &path]).ok();
}

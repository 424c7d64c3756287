//! Machines whose root is a device-mapper device, as Intel's Edge Microvisor Toolkit sets them up: which slot runs, what
//! boots next, and what keeps an update from being written.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use abide_testing::tree::cmdline;
use abide_testing::{Image, Run, Tree, uki};
use serde_json::Value;

const ROOTS: [(&str, u8); 2] = [("a", 2), ("b", 6)];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Verity,
    Encrypted,
    Linear,
}

const KINDS: [Kind; 3] = [Kind::Verity, Kind::Encrypted, Kind::Linear];

/// The UUID of what a slot holds.
fn uuid(slot: &str) -> String {
    format!("1111111{slot}-2222-4333-8444-555555555555")
}

fn mapped(slot: &str) -> String {
    format!("root=/dev/mapper/rootfs_verity boot_uuid={} panic=10", uuid(slot))
}

fn ext4(uuid: &str) -> Vec<u8> {
    let mut bytes = vec![0; 1 << 20];
    bytes[1024 + 0x38..1024 + 0x3a].copy_from_slice(&[0x53, 0xef]);
    bytes[1024 + 0x68..1024 + 0x78].copy_from_slice(uuid::Uuid::try_parse(uuid).unwrap().as_bytes());
    bytes
}

fn luks(uuid: &str) -> Vec<u8> {
    let mut bytes = vec![0; 1 << 20];
    bytes[..8].copy_from_slice(b"LUKS\xba\xbe\x00\x02");
    bytes[168..168 + uuid.len()].copy_from_slice(uuid.as_bytes());
    bytes
}

/// A machine of this kind that runs 1.0 from slot a.
struct Node {
    tree: Tree,
    kind: Kind,
}

impl Node {
    fn new(kind: Kind) -> Self {
        let mut tree = Tree::running("1.0");
        for dir in ["dev/disk/by-partlabel", "dev/disk/by-partuuid"] {
            fs::remove_dir_all(tree.path(dir)).unwrap();
        }
        fs::remove_file(tree.path("dev/sda3")).unwrap();
        fs::write(tree.entry("edge_1.0.efi"), uki("edge", "1.0", &mapped("a"))).unwrap();
        tree.boot();
        let node = Self { tree, kind };
        let labels: &[(u8, &str)] = match kind {
            Kind::Linear => &[(2, "rootfs"), (6, "rootfs_b")],
            _ => &[(2, "rootfs"), (4, "hashmap_a"), (5, "hashmap_b"), (6, "rootfs_b"), (7, "roothash")],
        };
        for (number, label) in labels {
            node.partition(*number, label);
        }
        for (slot, _) in ROOTS {
            node.hold(slot, &uuid(slot));
        }
        node.run_from("a");
        node
    }

    fn path(&self, path: &str) -> PathBuf {
        self.tree.path(path)
    }

    fn write_file(&self, path: &str, content: impl AsRef<[u8]>) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    fn link(&self, target: &str, path: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::remove_file(&path).unwrap_or_default();
        symlink(target, path).unwrap();
    }

    fn partition(&self, number: u8, label: &str) {
        let name = format!("sda{number}");
        let dir = format!("sys/devices/sda/{name}");
        let uevent = format!("MAJOR=8\nMINOR={number}\nDEVNAME={name}\nPARTN={number}\nPARTNAME={label}\n");
        self.write_file(&format!("{dir}/uevent"), uevent);
        self.write_file(&format!("{dir}/dev"), format!("8:{number}\n"));
        self.link(&format!("../../devices/sda/{name}"), &format!("sys/class/block/{name}"));
        self.link(&format!("../../{name}"), &format!("dev/disk/by-partlabel/{label}"));
        self.write_file(&format!("dev/{name}"), vec![0; 64 << 10]);
    }

    fn remove_partition(&self, number: u8, label: &str) {
        fs::remove_file(self.path(&format!("sys/class/block/sda{number}"))).unwrap();
        fs::remove_file(self.path(&format!("dev/disk/by-partlabel/{label}"))).unwrap();
    }

    /// Gives the content of a slot this UUID.
    fn hold(&self, slot: &str, uuid: &str) {
        let number = if slot == "a" { 2 } else { 6 };
        let bytes = if self.kind == Kind::Encrypted { luks(uuid) } else { ext4(uuid) };
        self.write_file(&format!("dev/sda{number}"), bytes);
    }

    /// Shows a mapping as sysfs and `dmsetup table` do.
    fn mapping(&self, number: u8, name: &str, table: &str, over: &[&str]) {
        let dir = format!("sys/devices/virtual/block/dm-{number}");
        self.write_file(&format!("{dir}/dm/name"), format!("{name}\n"));
        self.write_file(&format!("{dir}/dev"), format!("253:{number}\n"));
        for below in over {
            let target = fs::canonicalize(self.path(&format!("sys/class/block/{below}"))).unwrap();
            self.link(target.to_str().unwrap(), &format!("{dir}/slaves/{below}"));
        }
        for link in [format!("sys/class/block/dm-{number}"), format!("sys/dev/block/253:{number}")] {
            self.link(&format!("../../devices/virtual/block/dm-{number}"), &link);
        }
        let control = self.path("dev/mapper/control");
        let before = fs::read_to_string(control).unwrap_or_default();
        self.write_file("dev/mapper/control", format!("{before}{name}: 0 2048 {table}\n"));
        self.write_file(&format!("dev/dm-{number}"), vec![0; 1 << 20]);
    }

    fn close(&self, number: u8) {
        fs::remove_file(self.path(&format!("sys/class/block/dm-{number}"))).unwrap();
    }

    fn close_all(&self) {
        fs::remove_file(self.path("dev/mapper/control")).unwrap_or_default();
        for number in [0, 2, 4, 5, 6, 7] {
            for path in [format!("sys/class/block/dm-{number}"), format!("sys/dev/block/253:{number}")] {
                fs::remove_file(self.path(&path)).unwrap_or_default();
            }
            fs::remove_dir_all(self.path(&format!("sys/devices/virtual/block/dm-{number}")))
                .unwrap_or_default();
        }
    }

    /// What the initramfs opens in a boot from this slot; the root is mounted.
    fn run_from(&self, slot: &str) {
        self.close_all();
        let (root, hashes) = if slot == "a" { (2, 4) } else { (6, 5) };
        let (sda, dm) = (|number: u8| format!("sda{number}"), |number: u8| format!("dm-{number}"));
        match self.kind {
            Kind::Linear => self.root_is(&format!("linear 8:{root} 0"), &[&sda(root)]),
            Kind::Verity => self
                .root_is(&verity(&format!("8:{root}"), &format!("8:{hashes}")), &[&sda(root), &sda(hashes)]),
            Kind::Encrypted => {
                for (number, name) in [
                    (2, "rootfs_a"),
                    (4, "root_a_ver_hash_map"),
                    (5, "root_b_ver_hash_map"),
                    (6, "rootfs_b"),
                    (7, "ver_roothash"),
                ] {
                    let table = format!("crypt aes-xts-plain64 :64:logon:x 0 8:{number} 32768");
                    self.mapping(number, name, &table, &[&sda(number)]);
                }
                self.root_is(
                    &verity(&format!("253:{root}"), &format!("253:{hashes}")),
                    &[&dm(root), &dm(hashes)],
                );
            }
        }
    }

    /// Opens the root with this table, and mounts it.
    fn root_is(&self, table: &str, over: &[&str]) {
        self.mapping(0, "rootfs_verity", table, over);
        self.write_file("proc/self/mountinfo", "22 1 253:0 / / ro - ext4 /dev/mapper/rootfs_verity ro\n");
    }

    /// Power off and on, into this slot.
    fn boot_into(&mut self, slot: &str, version: &str) {
        self.run_from(slot);
        self.tree.boot_with_initrd(version);
    }

    /// Writes any image.
    fn write(&self) -> Run {
        let image = self.path("image.raw");
        fs::write(&image, Image::with_cmdline("2.0", &mapped("b")).bytes()).unwrap();
        self.tree.abide(&["write", image.to_str().unwrap()])
    }

    /// The findings of the doctor that concern slots and roots: id and what.
    fn found(&self) -> Vec<(String, String)> {
        let ids = [
            "layout",
            "not-open",
            "no-hash-partition",
            "hash-tree-room",
            "wrong-root",
            "no-slots",
            "running-slot-unknown",
            "running-entry",
            "unknown-boot",
        ];
        let run = Run::of(self.tree.command().args(["doctor", "--json"]));
        let text = |finding: &Value, key: &str| finding[key].as_str().unwrap().to_owned();
        let json = run.json();
        let all = json["findings"].as_array().unwrap().iter();
        all.map(|f| (text(f, "id"), text(f, "what"))).filter(|(id, _)| ids.contains(&id.as_str())).collect()
    }

    fn finds(&self, id: &str) -> String {
        let found = self.found();
        assert_eq!(found.iter().map(|(id, _)| id.as_str()).collect::<Vec<_>>(), [id], "{found:?}");
        found[0].1.clone()
    }

    fn boot_kind(&self) -> String {
        self.tree.status()["boot"]["kind"].as_str().unwrap().to_owned()
    }

    /// The slot that runs, by `status` and by `list`.
    fn runs(&self) -> (String, String) {
        let status = self.tree.status();
        let slots = status["slots"].as_array().unwrap();
        let slot =
            slots.iter().find(|s| s["running"] == true).map(|s| s["name"].as_str().unwrap().to_owned());
        let list = self.tree.abide(&["list", "--json"]).ok().json();
        let entries = list["entries"].as_array().unwrap();
        let entry =
            entries.iter().find(|e| e["running"] == true).map(|e| e["id"].as_str().unwrap().to_owned());
        (slot.unwrap_or_default(), entry.unwrap_or_default())
    }
}

fn verity(data: &str, hashes: &str) -> String {
    format!("verity 1 {data} {hashes} 4096 4096 64 1 sha256 aa11 00ff")
}

fn pair(slot: &str, entry: &str) -> (String, String) {
    (slot.into(), entry.into())
}

#[test]
fn status_list_and_doctor_are_right_on_every_kind_of_node() {
    for kind in KINDS {
        let node = Node::new(kind);
        assert_eq!(node.runs(), pair("a", "edge_1.0.efi"), "{kind:?}");
        assert_eq!(node.boot_kind(), "committed", "{kind:?}");
        assert_eq!(node.found(), [], "{kind:?}");
        assert!(
            node.tree.called("os-update-tool.sh", &["-v"]).stdout.contains("Active partition: /dev/sda2")
        );
    }
}

#[test]
fn a_trial_a_commit_and_a_fallback_are_told_apart_on_every_kind_of_node() {
    for kind in KINDS {
        let mut node = Node::new(kind);
        node.tree.stage_with("2.0", "b", &mapped("b"));
        node.tree.abide(&["apply"]).ok();
        node.boot_into("b", "2.0");
        assert_eq!(node.boot_kind(), "trial", "{kind:?}");
        assert_eq!(node.runs(), pair("b", "edge_2.0.efi"), "{kind:?}");
        node.tree.abide(&["commit", "--now"]).ok();
        node.boot_into("b", "2.0");
        assert_eq!(node.boot_kind(), "committed", "{kind:?}");
        assert_eq!(node.found(), [], "{kind:?}");

        node.hold("a", &uuid("c"));
        node.tree.stage_with("3.0", "a", &mapped("c"));
        fs::remove_file(node.tree.entry("edge_1.0.efi")).unwrap();
        node.tree.abide(&["apply"]).ok();
        for _ in 0..3 {
            node.tree.boot();
        }
        node.boot_into("b", "2.0");
        assert_eq!(node.boot_kind(), "fallback", "{kind:?}");
        assert_eq!(node.runs(), pair("b", "edge_2.0.efi"), "{kind:?}");
    }
}

#[test]
fn an_encrypted_partition_that_is_not_open_is_found_and_refused() {
    for (number, label) in [(6, "rootfs_b"), (5, "hashmap_b"), (7, "roothash")] {
        let node = Node::new(Kind::Encrypted);
        node.write_file(&format!("dev/sda{number}"), luks(&uuid("b")));
        node.close(number);
        let what = node.finds("not-open");
        assert!(what.starts_with(&format!("/dev/sda{number} ({label}) is encrypted")), "{what}");
        let run = node.write().fails(6);
        assert!(run.stderr.contains(&what), "{}", run.stderr);
        assert!(run.stderr.contains("cryptsetup open"), "{}", run.stderr);
        assert_eq!(node.tree.state().update, None);
    }
}

#[test]
fn a_missing_partition_for_hashes_is_found_and_refused() {
    for (number, label) in [(5, "hashmap_b"), (7, "roothash")] {
        let node = Node::new(Kind::Verity);
        node.remove_partition(number, label);
        let what = node.finds("no-hash-partition");
        assert!(what.ends_with(&format!("labelled {label}")), "{what}");
        assert!(node.write().fails(6).stderr.contains("sgdisk --change-name"));
        assert_eq!(node.runs(), pair("a", "edge_1.0.efi"));
    }
}

#[test]
fn a_partition_too_small_for_the_tree_of_a_full_slot_is_found() {
    let node = Node::new(Kind::Verity);
    node.write_file("dev/sda5", vec![0; 12 << 10]);
    let what = node.finds("hash-tree-room");
    assert_eq!(
        what,
        "/dev/sda5 (hashmap_b) has 12 KiB, but the hash tree of a root that fills slot b takes 16 KiB"
    );
}

#[test]
fn a_root_over_the_wrong_partitions_is_named_and_refused() {
    let cases = [
        (
            Kind::Verity,
            verity("8:2", "8:5"),
            vec!["sda2", "sda5"],
            "hashes on /dev/sda5, but hashmap_a is /dev/sda4",
        ),
        (Kind::Verity, verity("8:7", "8:4"), vec!["sda7", "sda4"], "over neither slot's partition"),
        (Kind::Verity, "linear 8:2 0".into(), vec!["sda2"], "although /dev/sda4 is labelled hashmap_a"),
        (
            Kind::Linear,
            "crypt aes-xts-plain64 :64:logon:x 0 8:2 0".into(),
            vec!["sda2"],
            "(crypt over /dev/sda2)",
        ),
        (Kind::Linear, verity("8:2", "8:2"), vec!["sda2"], "no partition is labelled hashmap_a"),
    ];
    for (kind, table, over, reason) in cases {
        let node = Node::new(kind);
        node.close_all();
        node.root_is(&table, &over);
        let found = node.found();
        let what = found.iter().find(|(id, _)| id == "layout").map(|(_, what)| what).unwrap();
        assert!(what.starts_with("the root is /dev/mapper/rootfs_verity ("), "{what}");
        assert!(what.contains(reason), "{what}");
        node.write().fails(6);
        assert_eq!(node.tree.state().update, None);
    }
}

#[test]
fn a_verity_root_by_another_name_is_one_all_the_same() {
    let node = Node::new(Kind::Verity);
    node.close_all();
    node.mapping(0, "other", &verity("8:2", "8:4"), &["sda2", "sda4"]);
    node.mapping(2, "rootfs_verity", "linear 8:6 0", &["sda6"]);
    assert_eq!(node.runs(), pair("a", "edge_1.0.efi"));
    assert_eq!(node.found(), []);
}

#[test]
fn the_same_build_in_both_slots_is_an_unknown_boot() {
    for kind in KINDS {
        let node = Node::new(kind);
        node.hold("b", &uuid("a"));
        assert_eq!(node.boot_kind(), "unknown", "{kind:?}");
        let ids: Vec<String> = node.found().into_iter().map(|(id, _)| id).collect();
        assert!(ids.contains(&"wrong-root".to_owned()), "{ids:?}");
        let run = node.write().fails(6);
        assert!(run.stderr.contains("both slots (/dev/sda2 and /dev/sda6) have that UUID"), "{}", run.stderr);
    }
}

#[test]
fn a_root_over_another_slot_than_the_command_line_names_is_unknown() {
    for kind in KINDS {
        let node = Node::new(kind);
        node.run_from("b");
        assert_eq!(node.boot_kind(), "unknown", "{kind:?}");
        node.write().fails(6);
        // Below an overlay the table of the mapping says the same.
        node.write_file("proc/self/mountinfo", "22 1 0:30 / / ro - overlay overlay ro\n");
        assert_eq!(node.boot_kind(), "unknown", "{kind:?}");
    }
}

#[test]
fn a_developer_image_follows_its_root_whatever_boot_uuid_says() {
    let mut tree = Tree::running("1.0");
    let developer = format!("{} boot_uuid={}", cmdline("a"), uuid("f"));
    fs::write(tree.entry("edge_1.0.efi"), uki("edge", "1.0", &developer)).unwrap();
    tree.boot();
    let status = tree.status();
    assert_eq!(status["boot"]["kind"], "committed");
    assert_eq!(status["slots"][0]["running"], true);
}

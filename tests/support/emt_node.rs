//! A node of Intel's Edge Microvisor Toolkit as a folder: its partitions, what lies over them, and its images.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use crate::image::Image;
use crate::process::program;
use crate::tree::{Tree, partuuid};
use crate::uki::uki;

/// Bytes of a root's partition, and of the file system in an image.
const SLOT: u64 = 12 << 20;
const FILE_SYSTEM: u64 = 8 << 20;

/// Bytes of a partition for a hash tree.
const HASHES: u64 = 1 << 20;

/// The kinds of node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodeKind {
    Verity,
    Encrypted,
    Linear,
}

/// What the UKI of a build says: its mapping's name is the same on all of them.
#[must_use]
pub fn mapped_cmdline(uuid: &str) -> String {
    format!("root=/dev/mapper/rootfs_verity boot_uuid={uuid} panic=10")
}

/// The UUID of the build with this number.
#[must_use]
pub fn build_uuid(number: u8) -> String {
    format!("{number:02x}000000-1111-4222-8333-444444444444")
}

/// An image of a build, whose root is an ext4 with its UUID.
#[must_use]
pub fn mapped_image(version: &str, number: u8) -> Image {
    let root = ext4(&build_uuid(number), version);
    Image {
        root,
        root_label: "rootfs".into(),
        ..Image::with_cmdline(version, &mapped_cmdline(&build_uuid(number)))
    }
}

/// An ext4 with a file in it.
#[must_use]
pub fn ext4(uuid: &str, content: &str) -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    let (files, path) = (dir.path().join("files"), dir.path().join("root"));
    fs::create_dir_all(&files).unwrap();
    fs::write(files.join("data"), content.repeat(200_000)).unwrap();
    let size = format!("{}k", FILE_SYSTEM / 1024);
    let words = ["-q", "-F", "-t", "ext4", "-b", "4096", "-U", uuid, "-d"];
    let output = program("mke2fs").args(words).arg(&files).arg(&path).arg(size).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    fs::read(path).unwrap()
}

/// The node that runs build 1 from slot a.
#[must_use]
pub fn node(kind: NodeKind) -> Tree {
    let mut tree = Tree::running("3.0");
    for old in ["dev/sda2", "dev/sda3"] {
        fs::remove_file(tree.path(old)).unwrap();
    }
    for dir in ["by-partlabel", "by-partuuid"] {
        fs::remove_dir_all(tree.path("dev/disk").join(dir)).unwrap();
        fs::create_dir(tree.path("dev/disk").join(dir)).unwrap();
    }
    let hashes: &[(u8, &str)] = match kind {
        NodeKind::Linear => &[],
        _ => &[(4, "hashmap_a"), (5, "hashmap_b"), (7, "roothash")],
    };
    for (number, label) in [&[(2, "rootfs"), (6, "rootfs_b")], hashes].concat() {
        partition(&tree, number, label);
    }
    for (slot, number) in [("a", 2), ("b", 6)] {
        let path = tree.path(&format!("dev/sda{number}"));
        match kind {
            NodeKind::Encrypted => encrypted(&path, &partuuid(slot)),
            _ => fs::write(&path, vec![0; usize::try_from(SLOT).unwrap()]).unwrap(),
        }
        symlink(format!("../../sda{number}"), tree.path(&format!("dev/disk/by-partuuid/{}", partuuid(slot))))
            .unwrap();
    }
    if kind != NodeKind::Linear {
        for number in [4, 5] {
            fs::write(tree.path(&format!("dev/sda{number}")), vec![9; usize::try_from(HASHES).unwrap()])
                .unwrap();
        }
        fs::create_dir(tree.path("dev/sda7")).unwrap();
        for slot in ["a", "b"] {
            fs::write(tree.path(&format!("dev/sda7/part_{slot}_roothash")), format!("{}\n", "1".repeat(64)))
                .unwrap();
        }
    }
    match kind {
        NodeKind::Encrypted => {
            cryptsetup_uuid(&tree.path("dev/sda2"), &build_uuid(1));
        }
        _ => put(&tree.path("dev/sda2"), &ext4(&build_uuid(1), "3.0")),
    }
    runs_from(&tree, kind, "a");
    fs::write(tree.entry("edge_3.0.efi"), uki("edge", "3.0", &mapped_cmdline(&build_uuid(1)))).unwrap();
    tree.boot();
    tree
}

/// Shows the mappings of a boot from this slot, as the kernel would.
pub fn runs_from(tree: &Tree, kind: NodeKind, slot: &str) {
    fs::remove_file(tree.path("dev/mapper/control")).unwrap_or_default();
    let (root, hashes) = if slot == "a" { (2, 4) } else { (6, 5) };
    let (sda, opened) = (|number: u8| format!("sda{number}"), |number: u8| format!("dm-{number}"));
    match kind {
        NodeKind::Linear => mapping(tree, 0, "rootfs_verity", &format!("linear 8:{root} 0"), &[&sda(root)]),
        NodeKind::Verity => {
            let table = format!("verity 1 8:{root} 8:{hashes} 4096 4096 64 1 sha256 aa11 00ff");
            mapping(tree, 0, "rootfs_verity", &table, &[&sda(root), &sda(hashes)]);
        }
        NodeKind::Encrypted => {
            let names = ["rootfs_a", "root_a_ver_hash_map", "root_b_ver_hash_map", "rootfs_b"];
            for (name, number) in names.into_iter().zip([2, 4, 5, 6]) {
                // What encrypts only the roots is enough of it.
                if [2, 6].contains(&number) {
                    let table = format!("crypt aes-xts-plain64 :64:logon:x 0 8:{number} 32768");
                    mapping(tree, number, name, &table, &[&sda(number)]);
                }
            }
            let table = format!("verity 1 253:{root} 8:{hashes} 4096 4096 64 1 sha256 aa11 00ff");
            mapping(tree, 0, "rootfs_verity", &table, &[&opened(root), &sda(hashes)]);
        }
    }
}

/// The device that a slot's content is written to.
#[must_use]
pub fn slot_device(tree: &Tree, kind: NodeKind, slot: &str) -> PathBuf {
    let number = if slot == "a" { 2 } else { 6 };
    tree.path(&if kind == NodeKind::Encrypted {
        format!("dev/dm-{number}")
    } else {
        format!("dev/sda{number}")
    })
}

/// A partition that the kernel and udev know.
fn partition(tree: &Tree, number: u8, label: &str) {
    let name = format!("sda{number}");
    let dir = tree.path(&format!("sys/devices/sda/{name}"));
    for folder in [&dir, &tree.path("sys/class/block"), &tree.path("sys/dev/block")] {
        fs::create_dir_all(folder).unwrap();
    }
    let uevent = format!("MAJOR=8\nMINOR={number}\nDEVNAME={name}\nPARTN={number}\nPARTNAME={label}\n");
    fs::write(dir.join("uevent"), uevent).unwrap();
    fs::write(dir.join("dev"), format!("8:{number}\n")).unwrap();
    symlink(format!("../../devices/sda/{name}"), tree.path("sys/class/block").join(&name)).unwrap();
    symlink(format!("../../{name}"), tree.path("dev/disk/by-partlabel").join(label)).unwrap();
}

/// The device-mapper device `dm-N`.
fn mapping(tree: &Tree, number: u8, name: &str, table: &str, over: &[&str]) {
    let (kernel_name, devno) = (format!("dm-{number}"), format!("253:{number}"));
    let dir = tree.path(&format!("sys/devices/virtual/block/{kernel_name}"));
    if dir.exists() {
        fs::remove_dir_all(&dir).unwrap();
    }
    for folder in [dir.join("dm"), dir.join("slaves"), tree.path("dev/mapper")] {
        fs::create_dir_all(folder).unwrap();
    }
    fs::write(dir.join("dm/name"), format!("{name}\n")).unwrap();
    fs::write(dir.join("dev"), format!("{devno}\n")).unwrap();
    let class = tree.path("sys/class/block");
    for below in over {
        symlink(class.join(below).canonicalize().unwrap(), dir.join("slaves").join(below)).unwrap();
    }
    for link in [class.join(&kernel_name), tree.path("sys/dev/block").join(&devno)] {
        if link.symlink_metadata().is_err() {
            symlink(format!("../../devices/virtual/block/{kernel_name}"), link).unwrap();
        }
    }
    let control = tree.path("dev/mapper/control");
    let before = fs::read_to_string(&control).unwrap_or_default();
    fs::write(control, format!("{before}{name}: 0 8 {table}\n")).unwrap();
    let device = tree.path("dev").join(kernel_name);
    if !device.exists() {
        fs::write(device, vec![0; usize::try_from(SLOT).unwrap()]).unwrap();
    }
}

/// Makes a LUKS2 partition with this UUID.
fn encrypted(path: &Path, uuid: &str) {
    fs::File::create(path).unwrap().set_len(20 << 20).unwrap();
    let key = path.with_extension("key");
    fs::write(&key, "secret").unwrap();
    let words = ["luksFormat", "-q", "--type", "luks2", "--uuid", uuid];
    let kdf = ["--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000", "--key-file"];
    let output = program("cryptsetup").args(words).args(kdf).arg(&key).arg(path).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    fs::remove_file(key).unwrap();
}

fn cryptsetup_uuid(path: &Path, uuid: &str) {
    let output = program("cryptsetup").args(["luksUUID", "-q", "--uuid", uuid]).arg(path).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Overwrites the beginning of a file.
fn put(path: &Path, bytes: &[u8]) {
    use std::os::unix::fs::FileExt;
    fs::OpenOptions::new().write(true).open(path).unwrap().write_all_at(bytes, 0).unwrap();
}

//! `publish`: from the image of a whole disk, with `feed.toml`, and what it warns of.

use super::*;

use std::os::unix::fs::MetadataExt;

/// A folder that is published.
struct Out {
    dir: tempfile::TempDir,
}

impl Out {
    fn new(files: &[(&str, &[u8])]) -> Self {
        let out = Self { dir: tempfile::tempdir().unwrap() };
        for (name, bytes) in files {
            fs::write(out.dir.path().join(name), bytes).unwrap();
        }
        out
    }

    fn publish(&self, words: &[&str]) -> Run {
        let mut command = program(env!("CARGO_BIN_EXE_abide"));
        Run::of(command.arg("publish").arg(self.dir.path()).args(words))
    }

    fn text(&self, name: &str) -> String {
        fs::read_to_string(self.dir.path().join(name)).unwrap()
    }

    /// The names in the list.
    fn listed(&self) -> Vec<String> {
        self.text("SHA256SUMS").lines().map(|line| line.split_once("  ").unwrap().1.to_owned()).collect()
    }

    fn has(&self, name: &str) -> bool {
        self.dir.path().join(name).exists()
    }
}

/// A machine with dm-verity hashes in its slots.
fn node() -> Tree {
    let tree = machine_without_signatures();
    for (node, label) in [("sda4", "rootfs_a_verity"), ("sda5", "rootfs_b_verity")] {
        fs::write(tree.path("dev").join(node), noise(SLOT, 5)).unwrap();
        symlink(format!("../../{node}"), tree.path("dev/disk/by-partlabel").join(label)).unwrap();
    }
    tree
}

const HASH: &str = "roothash=00112233445566778899aabbccddeeff0123456789abcdeffedcba9876543210 \
                    root=/dev/mapper/root panic=1";

fn disk() -> Image {
    let mut image = Image::with_cmdline("2.0", HASH);
    image.root[100 << 10..500 << 10].fill(0);
    Image { verity: noise(300 << 10, 8), data: noise(4096, 9), ..image }
}

#[test]
fn a_split_disk_image_gives_the_slot_the_same_bytes_as_the_image() {
    for root_first in [false, true] {
        // With hashes, `write` refuses a root before the ESP.
        let plain = || Image { root_first, ..Image::new("2.0", "b") };
        let (disk, node): (_, fn() -> Tree) =
            if root_first { (plain(), machine_without_signatures) } else { (disk(), node) };
        let by_disk = node();
        let alone = tempfile::tempdir().unwrap();
        let image = alone.path().join("disk.raw");
        fs::write(&image, disk.bytes()).unwrap();
        let sha256 = digest(&disk.bytes());
        by_disk.abide(&["write", image.to_str().unwrap(), "--sha256", &sha256]).ok();
        for (name, bytes) in [("edge_2.0.raw", disk.bytes()), ("edge_2.0.raw.zst", disk.zst())] {
            let out = Out::new(&[(name, &bytes)]);
            let told = out.publish(&[]).ok().stdout;
            assert!(told.contains(&format!("{name}: is published as UKI and partitions")), "{told}");
            let by_set = node();
            by_set.abide(&["write", out.dir.path().to_str().unwrap()]).ok();
            for file in ["dev/sda3", "dev/sda5", "efi/EFI/Linux/staged.uki"] {
                if root_first && file == "dev/sda5" {
                    continue;
                }
                assert!(read(&by_set.path(file)) == read(&by_disk.path(file)), "{name}: {file} differs");
            }
        }
    }
}

#[test]
fn only_the_set_of_a_split_disk_image_is_listed() {
    let out = Out::new(&[("edge_2.0_x86-64.raw", &disk().bytes())]);
    out.publish(&[]).ok();
    let set = [
        "edge_2.0_x86-64.efi",
        "edge_2.0_x86-64.root-verity.map",
        "edge_2.0_x86-64.root-verity.raw.zst",
        "edge_2.0_x86-64.root.map",
        "edge_2.0_x86-64.root.raw.zst",
    ];
    assert_eq!(out.listed(), set);
    let again = out.publish(&[]).ok().stdout;
    assert!(again.contains("SHA256SUMS is unchanged"), "{again}");
    let root = fs::metadata(out.dir.path().join("edge_2.0_x86-64.root.raw")).unwrap();
    assert!(root.blocks() * 512 < root.len() - (300 << 10), "zeros take room: {}", root.blocks());
}

#[test]
fn a_disk_image_that_is_listed_already_is_not_split() {
    let bytes = disk().bytes();
    let out = Out::new(&[("edge_2.0.raw", &bytes)]);
    fs::write(out.dir.path().join("SHA256SUMS"), format!("{}  edge_2.0.raw\n", digest(&bytes))).unwrap();
    let run = out.publish(&[]).fails(6);
    assert!(run.stderr.contains("edge_2.0.raw is published already"), "{}", run.stderr);
    assert!(!out.has("edge_2.0.root.raw"));
}

#[test]
fn a_disk_image_that_cannot_be_split_is_refused_in_one_line() {
    let good = disk();
    let addon = Some("edge-from-the-image.efi.extra.d/debug.addon.efi");
    let mut cut = good.bytes();
    cut.truncate(cut.len() / 2);
    for (bytes, code, words) in [
        (Image { uki: None, ..good.clone() }.bytes(), 3, "there is no UKI"),
        (Image { beside: addon, ..good.clone() }.bytes(), 6, "does not install"),
        (cut, 3, "is truncated"),
        (noise(200 << 10, 1), 3, "has no valid partition table"),
    ] {
        let out = Out::new(&[("edge_2.0.raw", &bytes)]);
        let run = out.publish(&[]).fails(code);
        assert!(run.stderr.contains(words), "{}", run.stderr);
        assert_eq!(run.stderr.lines().count(), 1, "{}", run.stderr);
        assert!(!out.has("edge_2.0.root.raw") && !out.has("SHA256SUMS"));
    }
    let out = Out::new(&[("edge_2.0.raw", &good.bytes()), ("edge_2.0.efi", &uki("edge", "2.0", "another"))]);
    let run = out.publish(&[]).fails(6);
    assert!(run.stderr.contains("edge_2.0.efi: is not the one in"), "{}", run.stderr);
    assert!(!out.has("edge_2.0.root.raw") && !out.has("SHA256SUMS"));
}

#[test]
fn feed_toml_gets_an_entry_and_keeps_what_it_has() {
    let root = noise(5000, 1);
    let out = Out::new(&[("edge_2.0.root.raw", &root)]);
    out.publish(&["--feed-toml"]).ok();
    let first = "format = 1\n\n[[release]]\nversion = \"2.0\"\nimage = \"edge\"\n";
    assert_eq!(out.text("feed.toml"), first);
    let listed = format!("{}  feed.toml\n", digest(first.as_bytes()));
    assert!(out.text("SHA256SUMS").contains(&listed));
    let told = out.publish(&["--feed-toml", "--published", "2026-11-30"]).ok().stdout;
    assert!(told.contains("SHA256SUMS is unchanged"), "{told}");

    let own = "format = 1\nserial = 4 # mine\n[[release]]\nversion = '1.0'\nhalted = true\npublished = '2026-01-01'";
    fs::write(out.dir.path().join("feed.toml"), own).unwrap();
    out.publish(&["--feed-toml", "--published", "2026-11-30"]).ok();
    let added = "\n[[release]]\nversion = \"2.0\"\nimage = \"edge\"\npublished = \"2026-11-30\"\n";
    assert_eq!(out.text("feed.toml"), format!("{own}{added}"));
}

#[test]
fn a_feed_toml_that_cannot_be_used_stays_as_it_is() {
    let out = Out::new(&[("edge_2.0.root.raw", &noise(5000, 1))]);
    for (text, published) in [("format = 2\n", "2026-11-30"), ("format = 1\n", "soon"), ("release = 1", "")] {
        fs::write(out.dir.path().join("feed.toml"), text).unwrap();
        out.publish(&["--feed-toml", "--published", published]).fails(2);
        assert_eq!(out.text("feed.toml"), text);
    }
    out.publish(&["--published", "2026-11-30"]).fails(2);
}

#[test]
fn compressed_kernel_modules_are_warned_of() {
    let root = |end: &str, between: &str| -> Vec<u8> {
        let names: String = (0..30).map(|n| format!("\0\0{between}mod_{n}.ko{end}\0")).collect();
        [noise(3000, 1), names.into_bytes(), noise(3000, 2)].concat()
    };
    for (end, between, is_warned) in [
        (".xz", "", true),
        (".zst", "", true),
        (".gz", "", true),
        ("", "", false),
        (".xz", "kernel/fs/", false),
    ] {
        let out = Out::new(&[("edge_2.0.root.raw", &root(end, between))]);
        let told = out.publish(&[]).ok().stdout;
        assert_eq!(told.contains("about 30 compressed kernel modules"), is_warned, "{end} {between}: {told}");
    }
}

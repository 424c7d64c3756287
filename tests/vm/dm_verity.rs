//! An image that dm-verity guards: its root hash in the UKI and its parts in files of their own, as mkosi
//! builds it and publishes it for systemd-sysupdate.

use std::fs;
use std::path::Path;

use abide_qemu::paths;
use abide_testing::program;

use crate::support::edge::{Edge, image_path};

/// A folder below the one that the server shows: the parts of `version` beside their list, which is
/// signed. Returns its name and the keyring to check it with.
fn publish(version: &str) -> (String, Vec<u8>) {
    let parts = image_path(version, "verity", "split");
    let name = "sysupdate".to_owned();
    let folder = parts.with_file_name(&name);
    fs::remove_dir_all(&folder).ok();
    fs::create_dir(&folder).unwrap();
    for part in fs::read_dir(&parts).unwrap() {
        let part = part.unwrap();
        fs::hard_link(part.path(), folder.join(part.file_name())).unwrap();
    }
    run(&folder, "sha256sum edge_* >SHA256SUMS");
    let home = tempfile::tempdir().unwrap();
    let gpg = format!("gpg --homedir {} --batch --quiet --passphrase ''", home.path().display());
    run(&folder, &format!("{gpg} --quick-generate-key edge ed25519 sign never"));
    run(&folder, &format!("{gpg} --output SHA256SUMS.gpg --detach-sign SHA256SUMS"));
    let keyring = home.path().join("keyring");
    run(&folder, &format!("{gpg} --output {} --export edge", keyring.display()));
    run(&folder, &format!("gpgconf --homedir {} --kill all", home.path().display()));
    (name, fs::read(keyring).unwrap())
}

fn run(folder: &Path, command: &str) {
    paths::run(program("sh").args(["-euc", command]).current_dir(folder)).unwrap();
}

/// Where in the root its os-release lies, one of the first things that are read of it.
fn of_os_release(folder: &str) -> u64 {
    let command = "zstd -dcq edge_*.root.raw.zst | LC_ALL=C grep -aboE '^IMAGE_VERSION=2[.]0$' | cut -d: -f1";
    let folder = paths::target().join("guest/images").join(folder);
    let found = paths::run(program("sh").args(["-euc", command]).current_dir(folder)).unwrap();
    String::from_utf8(found).unwrap().trim().parse().unwrap()
}

/// What is mounted as the root.
fn root(edge: &mut Edge) -> String {
    edge.ok("findmnt --noheadings --output SOURCE /").trim().to_owned()
}

#[test]
fn a_verity_image_commits_and_with_one_flipped_byte_falls_back() {
    let (folder, keyring) = publish("2.0");
    let at = of_os_release(&folder);
    let mut edge = Edge::running("verity", "1.0");
    // Where systemd keeps the keys of those who publish; the root is read-only.
    edge.ok("mkdir /run/keys");
    edge.put("/run/keys/import-pubring.gpg", &keyring);
    edge.ok("mount -t overlay overlay -o lowerdir=/run/keys:/etc/systemd /etc/systemd");
    edge.ok("timeout 300 sh -c 'until mountpoint -q /var/lib/abide; do sleep 0.2; done'");
    // /etc/abide/keys leads there.
    edge.ok("mkdir -p /var/lib/abide/keys");
    edge.configure("[trust]\npolicy = 'signature'\n");
    let url = edge.url(&format!("{folder}/"));
    let written = edge.ok(&format!("abide write {url}"));
    assert!(written.contains("2.0 is staged in slot b: signed by "), "{written}");
    edge.ok("abide apply");
    assert_eq!(edge.reboot().version, "2.0");
    assert_eq!(root(&mut edge), "/dev/mapper/root");
    edge.wait_for_commit();
    assert_eq!(edge.status()["slots"][1]["state"], "active");

    edge.ok("abide rollback");
    assert_eq!(edge.reboot().version, "1.0");
    edge.wait_for_commit();
    edge.ok(&format!("printf x | dd of=/dev/disk/by-partlabel/rootfs_b bs=1 seek={at} conv=notrunc,fsync"));
    edge.ok("abide rollback");
    assert_eq!(edge.reboot().version, "1.0");
    let failure = edge.failure("2.0");
    assert_eq!(failure["phase"], "initramfs", "{failure:#}");
    let log = fs::read_to_string(edge.vm.log()).unwrap_or_default();
    assert!(log.contains("is corrupted"), "dm-verity has not seen it: {}", edge.vm.log().display());
}

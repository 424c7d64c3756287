//! Folders as they are published for systemd-sysupdate, and images with dm-verity.

use super::*;

const HASH: &str = "00112233445566778899aabbccddeeff0123456789abcdeffedcba9876543210";
const DATA_UUID: &str = "00112233-4455-6677-8899-aabbccddeeff";
const HASH_UUID: &str = "01234567-89ab-cdef-fedc-ba9876543210";

/// The machine, with partitions for dm-verity hashes.
fn verity_machine() -> Tree {
    let tree = machine();
    for (node, label) in
        [("sda4", "rootfs_a_verity"), ("sda5", "rootfs_b_verity"), ("sda6", "rootfs_b_verity_sig")]
    {
        fs::write(tree.path("dev").join(node), vec![0; 256 << 10]).unwrap();
        symlink(format!("../../{node}"), tree.path("dev/disk/by-partlabel").join(label)).unwrap();
    }
    tree
}

fn roothash() -> String {
    format!("roothash={HASH} root=/dev/mapper/root panic=1")
}

/// What is published of a version with dm-verity.
struct Files {
    dir: tempfile::TempDir,
    root: Vec<u8>,
    verity: Vec<u8>,
    sig: Vec<u8>,
}

impl Files {
    fn new(version: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let it =
            Self { dir, root: noise(700 * 1024 + 512, 1), verity: noise(40 * 1024, 2), sig: noise(4096, 3) };
        it.put(&format!("edge_{version}.efi"), &uki("edge", version, &roothash()));
        it.put(&format!("edge_{version}.root-x86-64.raw.xz"), &xz(&it.root));
        it.put(&format!("edge_{version}.root-x86-64-verity.raw.zst"), &zst(&it.verity));
        it.put(&format!("edge_{version}.root-x86-64-verity-sig.raw"), &it.sig);
        it.list();
        it
    }

    fn put(&self, name: &str, bytes: &[u8]) {
        fs::write(self.dir.path().join(name), bytes).unwrap();
    }

    fn list(&self) {
        let command = "rm -f SHA256SUMS; sha256sum * > ../sums.$$; mv ../sums.$$ SHA256SUMS";
        let status = program("sh").args(["-c", command]).current_dir(self.dir.path()).status().unwrap();
        assert!(status.success());
    }

    fn path(&self) -> &str {
        self.dir.path().to_str().unwrap()
    }
}

fn xz(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = liblzma::write::XzEncoder::new(vec![], 1);
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[track_caller]
fn holds(tree: &Tree, node: &str, content: &[u8]) {
    assert!(read(&tree.path("dev").join(node)).starts_with(content), "{node} holds something else");
}

#[test]
fn a_folder_for_systemd_sysupdate_is_installed_as_it_is() {
    let (tree, files) = (verity_machine(), Files::new("2.0"));
    let run = tree.abide(&["write", files.path()]).ok();
    assert!(run.stdout.starts_with("2.0 is staged in slot b"), "{}", run.stdout);
    holds(&tree, "sda3", &files.root);
    holds(&tree, "sda5", &files.verity);
    holds(&tree, "sda6", &files.sig);
    assert_eq!(read(&tree.path("dev/sda2")), vec![0; SLOT]);
    assert_eq!(read(&tree.path("dev/sda4")), vec![0; 256 << 10]);
    for (uuid, node) in [(DATA_UUID, "sda3"), (HASH_UUID, "sda5")] {
        let link = fs::canonicalize(tree.path(&format!("dev/disk/by-partuuid/{uuid}"))).unwrap();
        assert_eq!(link, tree.path("dev").join(node));
    }
    let update = tree.state().update.unwrap();
    assert_eq!(update.stage, Stage::Staged);
    let lines = fs::read_to_string(files.dir.path().join("SHA256SUMS")).unwrap();
    assert_eq!(update.digest, Some(digest(lines.as_bytes())));
    tree.abide(&["apply"]).ok();
    assert_eq!(tree.entries(), ["edge_1.0.efi", "edge_2.0+3-0.efi"]);
}

#[test]
fn the_newest_version_is_taken_or_the_one_that_is_named() {
    let (tree, files) = (verity_machine(), Files::new("2.0"));
    files.put("edge_10.0.raw.zst", &Image::new("10.0", "b").zst());
    files.put("other_11.0.raw.zst", &Image::new("11.0", "b").zst());
    files.put("README", b"hello");
    files.list();
    assert!(tree.abide(&["write", files.path()]).ok().stdout.starts_with("10.0 is staged"));
    assert!(
        tree.abide(&["write", files.path(), "--version", "2.0"]).ok().stdout.starts_with("2.0 is staged")
    );
    tree.abide(&["write", files.path(), "--version", "3.0"]).fails(3);
    let image = files.dir.path().join("edge_10.0.raw.zst");
    tree.abide(&["write", image.to_str().unwrap(), "--version", "10.1"]).fails(6);
    tree.abide(&["write", files.path(), "--sha256", &digest(b"")]).fails(2);
}

#[test]
fn a_folder_comes_from_a_web_server_with_one_request_for_its_list() {
    let (tree, files) = (verity_machine(), Files::new("2.0"));
    fs::create_dir_all(tree.path("etc/abide")).unwrap();
    fs::write(tree.path("etc/abide/abide.toml"), "[trust]\npolicy = 'digest'\n").unwrap();
    let server = Folder::serve(files.dir.path());
    tree.abide(&["write", &server.url]).ok();
    holds(&tree, "sda3", &files.root);
    let asked = server.asked.lock().unwrap().clone();
    assert_eq!(asked.iter().filter(|path| *path == "/SHA256SUMS").count(), 1, "{asked:?}");
    assert_eq!(asked.len(), 5, "{asked:?}");
}

#[test]
fn every_file_of_a_folder_must_be_what_the_list_says() {
    for name in [
        "edge_2.0.efi",
        "edge_2.0.root-x86-64.raw.xz",
        "edge_2.0.root-x86-64-verity.raw.zst",
        "edge_2.0.root-x86-64-verity-sig.raw",
    ] {
        let good = Files::new("2.0");
        let bytes = fs::read(good.dir.path().join(name)).unwrap();
        let mut flipped = bytes.clone();
        flipped[bytes.len() / 2] ^= 1;
        for bad in [flipped, bytes[..bytes.len() - 1].to_vec(), [bytes.clone(), vec![0]].concat(), vec![]] {
            good.put(name, &bad);
            let tree = verity_machine();
            let run = tree.abide(&["write", good.path()]);
            assert!(run.code == 7 || bad.is_empty() && run.code == 3, "{name}: {}", run.stderr);
            if name.ends_with(".efi") { untouched(&tree) } else { unbootable(&tree) }
        }
        fs::remove_file(good.dir.path().join(name)).unwrap();
        let tree = verity_machine();
        tree.abide(&["write", good.path()]).fails(3);
        if name.ends_with(".efi") { untouched(&tree) } else { unbootable(&tree) }
    }
}

#[test]
fn a_partition_that_unpacks_to_more_than_its_place_is_refused() {
    for (name, size) in [("root-x86-64.raw.xz", SLOT + 1), ("root-x86-64-verity.raw.zst", (256 << 10) + 1)] {
        let (tree, files) = (verity_machine(), Files::new("2.0"));
        files.put(
            &format!("edge_2.0.{name}"),
            &if name.ends_with("xz") { xz(&noise(size, 4)) } else { zst(&noise(size, 4)) },
        );
        files.list();
        tree.abide(&["write", files.path()]).fails(6);
        unbootable(&tree);
    }
    // What is not packed tells its size beforehand.
    let (tree, files) = (verity_machine(), Files::new("2.0"));
    fs::remove_file(files.dir.path().join("edge_2.0.root-x86-64.raw.xz")).unwrap();
    files.put("edge_2.0.root-x86-64.raw", &noise(SLOT + 1, 4));
    files.list();
    tree.abide(&["write", files.path()]).fails(6);
    untouched(&tree);
}

#[test]
fn a_uki_of_another_version_than_its_name_is_refused() {
    let (tree, files) = (verity_machine(), Files::new("2.0"));
    files.put("edge_2.0.efi", &uki("edge", "2.1", &roothash()));
    files.list();
    tree.abide(&["write", files.path()]).fails(6);
    untouched(&tree);
}

#[test]
fn a_folder_without_a_list_or_without_an_image_is_an_error() {
    let (tree, files) = (verity_machine(), Files::new("2.0"));
    files.put("SHA256SUMS", b"");
    tree.abide(&["write", files.path()]).fails(3);
    fs::remove_file(files.dir.path().join("SHA256SUMS")).unwrap();
    let run = tree.abide(&["write", files.path()]).fails(3);
    assert!(run.stderr.contains("no SHA256SUMS"), "{}", run.stderr);
    untouched(&tree);
}

#[test]
fn a_set_that_failed_before_is_refused_before_anything_is_fetched() {
    let (tree, files) = (verity_machine(), Files::new("2.0"));
    let lines = fs::read(files.dir.path().join("SHA256SUMS")).unwrap();
    remember(&tree, "of another name", Some(&digest(&lines)));
    tree.abide(&["write", files.path()]).fails(6);
    assert_eq!(tree.entries(), ["edge_0.9.efi", "edge_1.0.efi"]);
}

#[test]
fn a_verity_image_needs_its_hashes_and_a_place_for_them() {
    let tree = verity_machine();
    let run = write(&tree, &Image::with_cmdline("2.0", &roothash())).fails(6);
    assert!(run.stderr.contains("has no verity hashes"), "{}", run.stderr);
    untouched(&tree);
    let image = Image { verity: noise(40_960, 9), ..Image::with_cmdline("2.0", &roothash()) };
    let tree = machine();
    let run = write(&tree, &image).fails(6);
    assert!(run.stderr.contains("label one rootfs_b_verity"), "{}", run.stderr);
    untouched(&tree);
    let tree = verity_machine();
    write(&tree, &Image { verity: noise(300 << 10, 9), ..image.clone() }).fails(6);
    untouched(&tree);
    write(&tree, &image).ok();
    staged(&tree, &image, &image.bytes());
    holds(&tree, "sda5", &image.verity);
}

#[test]
fn while_a_verity_slot_is_written_no_root_hash_leads_to_it() {
    let tree = verity_machine();
    let image = Image { verity: noise(40_960, 9), ..Image::with_cmdline("2.0", &roothash()) };
    write(&tree, &image).ok();
    let bytes = image.bytes();
    let path = publish(&tree, "short.raw", &bytes[..bytes.len() - (2 << 20)]);
    tree.abide(&["write", &path]).fails(3);
    unbootable(&tree);
    for uuid in [DATA_UUID, HASH_UUID] {
        assert!(tree.path(&format!("dev/disk/by-partuuid/{uuid}")).symlink_metadata().is_err(), "{uuid}");
    }
    write(&tree, &image).ok();
    staged(&tree, &image, &bytes);
}

#[test]
fn a_folder_with_an_addon_for_the_uki_is_refused() {
    let (tree, files) = (verity_machine(), Files::new("2.0"));
    files.put("edge_2.0.addon.efi", b"MZ");
    files.list();
    let run = tree.abide(&["write", files.path()]).fails(6);
    assert!(run.stderr.contains("edge_2.0.addon.efi"), "{}", run.stderr);
    untouched(&tree);
}

#[test]
fn a_password_in_the_url_of_a_folder_is_not_in_an_error() {
    let files = Files::new("2.0");
    files.put("edge_2.0.efi", &uki("edge", "2.1", &roothash()));
    files.list();
    let server = Folder::serve(files.dir.path());
    let tree = verity_machine();
    fs::create_dir_all(tree.path("etc/abide")).unwrap();
    fs::write(tree.path("etc/abide/abide.toml"), "[trust]\npolicy = 'digest'\n").unwrap();
    let url = server.url.replace("http://", "http://me:secret@");
    let run = tree.abide(&["-vv", "write", &url]).fails(6);
    assert!(run.stderr.contains("the version in its os-release"), "{}", run.stderr);
    assert!(!run.stderr.contains("secret"), "{}", run.stderr);
    let run = machine().abide(&["write", "ftp://me:secret@h/x"]).fails(3);
    assert!(!run.stderr.contains("secret"), "{}", run.stderr);
}

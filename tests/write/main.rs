//! `abide write` on a machine that is a folder: every refusal with its exit code, and what is left behind.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

mod https;
mod set;
#[path = "../support/mod.rs"]
mod support;
mod trust;

use std::fs;
use std::io::Write;
use std::os::unix::fs::symlink;
use std::process::{Child, Command, Stdio};

use abide::disk::SlotName;
use abide::state::{Failure, Phase, Stage, State};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use support::image::{front, noise, zst};
use support::tree::{cmdline, digest, partuuid, read};
use support::uki::{pe, uki};
use support::{Answer, Folder, Image, Run, Tree, serve};

const SLOT: usize = 1 << 20;

/// A machine that runs 1.0 from slot a; slot b holds 0.9, its entry and noise.
fn machine() -> Tree {
    let tree = Tree::running("1.0");
    fs::write(tree.entry("edge_0.9.efi"), uki("edge", "0.9", &cmdline("b"))).unwrap();
    fs::write(tree.path("dev/sda3"), before()).unwrap();
    tree
}

fn before() -> Vec<u8> {
    noise(SLOT, 99)
}

/// Publishes bytes as a file beside the tree.
fn publish(tree: &Tree, name: &str, bytes: &[u8]) -> String {
    let path = tree.path(name);
    fs::write(&path, bytes).unwrap();
    path.to_str().unwrap().to_owned()
}

fn write(tree: &Tree, image: &Image) -> Run {
    let path = publish(tree, "image.raw", &image.bytes());
    tree.abide(&["write", &path])
}

/// Nothing was changed: the slot, its entry and the state are as they were.
#[track_caller]
fn untouched(tree: &Tree) {
    assert!(read(&tree.path("dev/sda3")) == before(), "the slot was changed");
    assert_eq!(tree.entries(), ["edge_0.9.efi", "edge_1.0.efi"]);
    assert_eq!(tree.state().update, None);
    assert!(!tree.path("efi/EFI/Linux/staged.uki").exists());
}

/// The slot was given up: nothing boots it and nothing is staged; the running system is as it was.
#[track_caller]
fn unbootable(tree: &Tree) {
    assert_eq!(tree.entries(), ["edge_1.0.efi"]);
    assert_eq!(tree.state().update.map(|u| u.stage), Some(Stage::Writing));
    assert_eq!(read(&tree.path("dev/sda2")), vec![0; SLOT]);
    tree.abide(&["apply"]).fails(5);
}

/// The image is staged in slot b as a whole.
#[track_caller]
fn staged(tree: &Tree, image: &Image, published: &[u8]) {
    assert!(read(&tree.path("dev/sda3")) == image.in_slot(&before()), "the slot holds something else");
    assert_eq!(tree.entries(), ["edge_1.0.efi"]);
    assert_eq!(Some(read(&tree.path("efi/EFI/Linux/staged.uki"))), image.uki);
    let update = tree.state().update.unwrap();
    assert_eq!((update.stage, update.slot), (Stage::Staged, SlotName::B));
    assert_eq!(update.digest, Some(digest(published)));
    assert_eq!(update.uki.unwrap().sha256, digest(image.uki.as_ref().unwrap()));
}

#[test]
fn every_codec_and_sector_size_ends_in_the_other_slot() {
    for sector in [512, 4096] {
        let image = Image { sector, data: noise(50_000, 5), ..Image::new("2.0", "b") };
        for bytes in [image.bytes(), image.gz(), image.zst()] {
            let tree = machine();
            let path = publish(&tree, "image", &bytes);
            tree.abide(&["write", &path, "--sha256", &digest(&bytes).to_uppercase()]).ok();
            staged(&tree, &image, &bytes);
        }
    }
}

#[test]
fn what_was_written_can_be_applied_and_boots() {
    let mut tree = machine();
    write(&tree, &Image::new("2.0", "b")).ok();
    tree.abide(&["apply"]).ok();
    assert_eq!(tree.boot_with_initrd("2.0"), "edge_2.0+2-1.efi");
    tree.abide(&["commit"]).ok();
    assert_eq!(tree.entries(), ["edge_1.0.efi", "edge_2.0.efi"]);
    write(&tree, &Image::new("3.0", "a")).ok();
    assert_eq!(tree.entries(), ["edge_2.0.efi"]);
    tree.abide(&["apply"]).ok();
    assert_eq!(tree.boot_with_initrd("3.0"), "edge_3.0+2-1.efi");
}

#[test]
fn the_same_image_again_writes_nothing_to_the_slot() {
    let tree = machine();
    let image = Image::new("2.0", "b");
    write(&tree, &image).ok();
    assert!(write(&tree, &image).ok().stdout.contains("0 of them written"));
    staged(&tree, &image, &image.bytes());
}

#[test]
fn a_newer_image_replaces_a_staged_one() {
    let tree = machine();
    write(&tree, &Image::new("2.0", "b")).ok();
    let image = Image::new("2.1", "b");
    write(&tree, &image).ok();
    staged(&tree, &image, &image.bytes());
}

#[test]
fn an_image_that_replaces_an_applied_one_takes_its_entry_away() {
    let mut tree = machine();
    write(&tree, &Image::new("0.8", "b")).ok();
    tree.abide(&["apply"]).ok();
    assert_eq!(tree.entries(), ["edge_0.8+3-0.efi", "edge_1.0+0-0.efi"]);
    write(&tree, &Image::new("2.0", "b")).ok();
    assert_eq!(tree.entries(), ["edge_1.0.efi"]);
    assert_eq!(tree.boot_with_initrd("1.0"), "edge_1.0.efi");
}

#[test]
fn a_root_before_the_esp_needs_a_file_that_can_be_read_twice() {
    let image = Image { root_first: true, ..Image::new("2.0", "b") };
    let tree = machine();
    write(&tree, &image).ok();
    staged(&tree, &image, &image.bytes());
    let tree = machine();
    let run = tree.abide(&["write", &serve(Answer::Whole(image.zst()))]).fails(3);
    assert!(run.stderr.contains("one pass"), "{}", run.stderr);
    untouched(&tree);
}

#[test]
fn the_slot_gets_the_partition_uuid_that_the_uki_names() {
    let tree = machine();
    let uuid = "11111111-2222-4333-8444-555555555555";
    let image = Image::with_cmdline("2.0", &format!("root=PARTUUID={} panic=1", uuid.to_uppercase()));
    write(&tree, &image).ok();
    staged(&tree, &image, &image.bytes());
    assert!(read(&tree.path(&format!("dev/disk/by-partuuid/{uuid}"))) == read(&tree.path("dev/sda3")));
    assert!(!tree.path(&format!("dev/disk/by-partuuid/{}", partuuid("b"))).exists());
}

#[test]
fn emt_images_name_their_root_by_boot_uuid() {
    let tree = machine();
    let uuid = "11111111-2222-4333-8444-555555555555";
    write(&tree, &Image::with_cmdline("2.0", &format!("root=LABEL=rootfs boot_uuid={uuid} panic=1"))).ok();
    assert!(tree.path(&format!("dev/disk/by-partuuid/{uuid}")).exists());
}

#[test]
fn a_slot_labelled_as_by_systemd_sysupdate_gets_the_label_of_its_new_content() {
    let tree = machine();
    for (old, new) in [("rootfs_a", "edge_1.0"), ("rootfs_b", "edge_0.9")] {
        let labels = tree.path("dev/disk/by-partlabel");
        fs::rename(labels.join(old), labels.join(new)).unwrap();
    }
    write(&tree, &Image::new("2.0", "b")).ok();
    assert!(tree.path("dev/disk/by-partlabel/edge_2.0").exists());
    assert!(!tree.path("dev/disk/by-partlabel/edge_0.9").exists());
    let broken = tree.path("image.raw");
    fs::write(&broken, &Image::new("3.0", "b").bytes()[..2_500_000]).unwrap();
    tree.abide(&["write", broken.to_str().unwrap()]).fails(3);
    assert!(tree.path("dev/disk/by-partlabel/_empty").exists());
}

#[test]
fn an_image_whose_root_is_not_the_other_slot_is_refused() {
    let roots = [
        cmdline("a"),
        "root=PARTLABEL=rootfs_a".into(),
        "root=PARTLABEL=elsewhere".into(),
        "root=UUID=1234-5678".into(),
        "root=LABEL=os".into(),
        "root=/dev/sda9".into(),
        "root=PARTUUID=abcd-02".into(),
        "root=tmpfs".into(),
        "quiet panic=1".into(),
        format!("boot_uuid={}", partuuid("a")),
        format!("roothash={}", "ab".repeat(32)),
    ];
    for cmdline in roots {
        let tree = machine();
        write(&tree, &Image::with_cmdline("2.0", &cmdline)).fails(6);
        untouched(&tree);
    }
}

#[test]
fn a_root_named_by_the_label_of_the_other_slot_is_accepted() {
    let tree = machine();
    let image = Image::with_cmdline("2.0", "root=PARTLABEL=rootfs_b panic=1");
    write(&tree, &image).ok();
    staged(&tree, &image, &image.bytes());
}

#[test]
fn a_partition_uuid_that_another_partition_has_is_refused() {
    let tree = machine();
    let uuid = partuuid("e");
    fs::write(tree.path("dev/sda1"), "").unwrap();
    symlink("../../sda1", tree.path(&format!("dev/disk/by-partuuid/{uuid}"))).unwrap();
    write(&tree, &Image::with_cmdline("2.0", &format!("root=PARTUUID={uuid} panic=1"))).fails(6);
    untouched(&tree);
}

#[test]
fn an_image_that_does_not_fit_is_refused() {
    let tree = machine();
    write(&tree, &Image { root: noise(SLOT + 512, 1), ..Image::new("2.0", "b") }).fails(6);
    untouched(&tree);
    // Four GiB and a bit more, which would fit if sizes were counted in 32 bits.
    let esp = Image::new("2.0", "b").bytes()[1 << 20..2 << 20].to_vec();
    let parts = [
        ("esp", gpt::partition_types::EFI, 1 << 20),
        ("rootfs", gpt::partition_types::LINUX_ROOT_X64, (4 << 30) + 4096),
    ];
    let (head, _, _) = front(&parts);
    let path = publish(&tree, "big.raw", &[head, esp].concat());
    tree.abide(&["write", &path]).fails(6);
    untouched(&tree);
}

#[test]
fn an_image_for_another_machine_is_refused() {
    let tree = machine();
    let osrel: &[u8] = b"ID=edge\nIMAGE_VERSION=2.0\n";
    let cmdline = cmdline("b");
    let arm = pe(0xaa64, &[(".osrel", osrel), (".cmdline", cmdline.as_bytes()), (".linux", &[1; 512])]);
    write(&tree, &Image { uki: Some(arm), ..Image::new("2.0", "b") }).fails(6);
    untouched(&tree);
    let root_type = gpt::partition_types::LINUX_ROOT_ARM_64;
    write(&tree, &Image { root_type, ..Image::new("2.0", "b") }).fails(6);
    untouched(&tree);
}

#[test]
fn an_image_of_another_system_is_refused_unless_it_is_meant() {
    let tree = machine();
    let other = Image { uki: Some(uki("other", "2.0", &cmdline("b"))), ..Image::new("2.0", "b") };
    let run = write(&tree, &other).fails(6);
    assert!(run.stderr.contains("this machine runs 'edge'"), "{}", run.stderr);
    untouched(&tree);
    fs::create_dir_all(tree.path("etc/abide")).unwrap();
    fs::write(tree.path("etc/abide/abide.toml"), "[trust]\nimage_id = 'other'\n").unwrap();
    write(&tree, &other).ok();
    write(&tree, &Image::new("2.0", "b")).fails(6);
}

#[test]
fn an_image_without_a_usable_uki_is_an_error() {
    let osrel: &[u8] = b"ID=edge\nIMAGE_VERSION=2.0\n";
    let cmdline = cmdline("b");
    let ukis = [
        None,
        Some(b"no PE file".to_vec()),
        Some(pe(0x8664, &[(".osrel", osrel), (".cmdline", cmdline.as_bytes())])),
        Some(pe(0x8664, &[(".osrel", b"NAME=x\n"), (".cmdline", cmdline.as_bytes()), (".linux", &[1; 512])])),
    ];
    for uki in ukis {
        let tree = machine();
        write(&tree, &Image { uki, ..Image::new("2.0", "b") }).fails(3);
        untouched(&tree);
    }
}

#[test]
fn a_version_that_cannot_be_a_file_name_is_refused() {
    let tree = machine();
    write(&tree, &Image { uki: Some(uki("edge", "2.0+git", &cmdline("b"))), ..Image::new("2.0", "b") })
        .fails(6);
    untouched(&tree);
}

#[test]
fn an_image_that_failed_before_is_refused_until_it_is_forgotten() {
    let image = Image::new("2.0", "b").bytes();
    let records = [("2.0", None, None), ("x", Some(digest(&image)), Some(digest(&image)))];
    for (version, known, given) in records {
        let tree = machine();
        remember(&tree, version, known.as_deref());
        let path = publish(&tree, "image.raw", &image);
        let sum = given.unwrap_or_else(|| digest(&image));
        let run = tree.abide(&["write", &path, "--sha256", &sum]).fails(6);
        assert!(run.stderr.contains("its kernel never reported"), "{}", run.stderr);
        assert!(read(&tree.path("dev/sda3")) == before());
        tree.abide(&["forget", version]).ok();
        tree.abide(&["write", &path]).ok();
    }
}

#[test]
fn an_image_known_as_failed_only_by_its_digest_is_not_staged() {
    let tree = machine();
    let image = Image::new("2.0", "b");
    remember(&tree, "of another name", Some(&digest(&image.bytes())));
    write(&tree, &image).fails(6);
    unbootable(&tree);
}

fn remember(tree: &Tree, version: &str, digest: Option<&str>) {
    let mut state = State::default();
    state.remember(Failure {
        version: version.into(),
        digest: digest.map(Into::into),
        attempts: 3,
        phase: Phase::Loader,
        reason: "its kernel never reported".into(),
        checks: vec![],
        time: String::new(),
        times: 1,
        forgiven: false,
    });
    tree.save(&state);
}

#[test]
fn nothing_is_written_while_the_running_system_is_on_trial() {
    let mut tree = machine();
    write(&tree, &Image::new("2.0", "b")).ok();
    tree.abide(&["apply"]).ok();
    tree.boot_with_initrd("2.0");
    let run = write(&tree, &Image::new("3.0", "a")).fails(6);
    assert!(run.stderr.contains("on trial"), "{}", run.stderr);
    assert_eq!(read(&tree.path("dev/sda2")), vec![0; SLOT]);
}

#[test]
fn a_wrong_digest_leaves_the_slot_unbootable() {
    let tree = machine();
    let path = publish(&tree, "image.raw", &Image::new("2.0", "b").bytes());
    tree.abide(&["write", &path, "--sha256", &digest(b"another")]).fails(7);
    unbootable(&tree);
    tree.abide(&["write", &path]).ok();
}

#[test]
fn a_digest_that_is_none_is_an_error_of_usage() {
    let tree = machine();
    let path = publish(&tree, "image.raw", &Image::new("2.0", "b").bytes());
    for sum in ["", "abc", &"g".repeat(64)] {
        tree.abide(&["write", &path, "--sha256", sum]).fails(2);
    }
    untouched(&tree);
}

#[test]
fn a_truncated_image_is_an_error_wherever_it_ends() {
    let image = Image { data: noise(300_000, 5), ..Image::new("2.0", "b") };
    for bytes in [image.bytes(), image.gz(), image.zst()] {
        for tenth in 0..10 {
            let tree = machine();
            let path = publish(&tree, "image", &bytes[..bytes.len() * tenth / 10]);
            tree.abide(&["write", &path]).fails(3);
            if tree.entries().len() == 2 { untouched(&tree) } else { unbootable(&tree) }
        }
    }
}

#[test]
fn a_flipped_bit_in_a_packed_image_is_an_error() {
    let image = Image::new("2.0", "b");
    for mut bytes in [image.gz(), checked_zst(&image)] {
        for tenth in [3, 5, 9] {
            let at = bytes.len() * tenth / 10;
            bytes[at] ^= 0x20;
            let tree = machine();
            let path = publish(&tree, "image", &bytes);
            tree.abide(&["write", &path]).fails(3);
            if tree.entries().len() == 2 {
                untouched(&tree)
            } else {
                unbootable(&tree)
            }
            bytes[at] ^= 0x20;
        }
    }
}

fn checked_zst(image: &Image) -> Vec<u8> {
    let mut encoder = zstd::stream::write::Encoder::new(vec![], 1).unwrap();
    encoder.include_checksum(true).unwrap();
    encoder.write_all(&image.bytes()).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn an_image_that_never_ends_is_an_error() {
    let tree = machine();
    let endless = [zst(&Image::new("2.0", "b").bytes()), zst(&vec![0; 100 << 20])].concat();
    let path = publish(&tree, "image.zst", &endless);
    tree.abide(&["write", &path]).fails(3);
    unbootable(&tree);
}

#[test]
fn what_is_no_disk_image_is_an_error() {
    let tree = machine();
    for bytes in [vec![], b"<html>".to_vec(), vec![0; 3 << 20], noise(3 << 20, 1)] {
        let path = publish(&tree, "image.raw", &bytes);
        tree.abide(&["write", &path]).fails(3);
    }
    tree.abide(&["write", "/no/such/file"]).fails(3);
    tree.abide(&["write", "ftp://example.org/x.raw"]).fails(3);
    tree.abide(&["write", tree.dir.path().to_str().unwrap()]).fails(3);
    untouched(&tree);
}

#[test]
fn an_image_comes_from_a_web_server_too() {
    let image = Image::new("2.0", "b");
    let tree = machine();
    let url = serve(Answer::Whole(image.gz()));
    tree.abide(&["write", &serve(Answer::Redirect(url))]).ok();
    staged(&tree, &image, &image.gz());
}

#[test]
fn a_web_server_that_fails_is_an_error() {
    let image = Image::new("2.0", "b").zst();
    for code in [404, 403, 416, 500, 503] {
        let tree = machine();
        let run = tree.abide(&["write", &serve(Answer::Status(code))]).fails(3);
        assert!(run.stderr.contains(&code.to_string()), "{}", run.stderr);
        untouched(&tree);
    }
    for tenth in 0..10 {
        let tree = machine();
        impatient(&tree);
        tree.abide(&["write", &serve(Answer::CutAfter(image.len() * tenth / 10, image.clone()))]).fails(3);
        if tree.entries().len() == 2 { untouched(&tree) } else { unbootable(&tree) }
    }
}

#[test]
fn an_image_comes_from_standard_input_too() {
    let image = Image::new("2.0", "b");
    let tree = machine();
    let mut writer = start(&tree);
    writer.stdin.take().unwrap().write_all(&image.gz()).unwrap();
    assert!(writer.wait().unwrap().success());
    staged(&tree, &image, &image.gz());
}

#[test]
fn a_write_that_is_cut_off_anywhere_is_simply_repeated() {
    let image = Image::new("2.0", "b");
    let bytes = image.bytes();
    for tenth in 0..10 {
        for signal in [Signal::SIGKILL, Signal::SIGTERM] {
            let tree = machine();
            let mut writer = start(&tree);
            let mut input = writer.stdin.take().unwrap();
            input.write_all(&bytes[..bytes.len() * tenth / 10]).unwrap();
            // From the sixth tenth on there is root to be written: be sure that it has begun.
            while tenth >= 6 && tree.state().update.is_none() {
                std::thread::yield_now();
            }
            kill(Pid::from_raw(i32::try_from(writer.id()).unwrap()), signal).unwrap();
            assert!(!writer.wait().unwrap().success());
            drop(input);
            if tree.entries().len() == 2 {
                untouched(&tree)
            } else {
                unbootable(&tree)
            }
            write(&tree, &image).ok();
            staged(&tree, &image, &bytes);
        }
    }
}

/// Starts writing what comes on standard input.
fn start(tree: &Tree) -> Child {
    Command::new(env!("CARGO_BIN_EXE_abide"))
        .arg("--root")
        .arg(tree.dir.path())
        .args(["write", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

/// Downloads are given up soon.
fn impatient(tree: &Tree) {
    fs::create_dir_all(tree.path("etc/abide")).unwrap();
    fs::write(tree.path("etc/abide/abide.toml"), "[download]\ngive_up_after = '400ms'\n").unwrap();
}

#[test]
fn a_download_goes_on_where_the_connection_broke() {
    let image = Image::new("2.0", "b");
    let bytes = image.zst();
    let tree = machine();
    let run = tree.abide(&["write", &serve(Answer::Drops(bytes.len() / 10, bytes.clone()))]).ok();
    assert!(run.stderr.contains("trying to go on"), "{}", run.stderr);
    staged(&tree, &image, &bytes);
}

#[test]
fn an_image_that_changes_on_the_server_in_mid_download_is_an_error() {
    let bytes = Image::new("2.0", "b").zst();
    let tree = machine();
    let run = tree.abide(&["write", &serve(Answer::Changes(bytes.len() / 2, bytes))]).fails(3);
    assert!(run.stderr.contains("changed in the middle"), "{}", run.stderr);
    unbootable(&tree);
}

#[test]
fn a_uki_without_panic_is_warned_about() {
    let tree = machine();
    let run = write(&tree, &Image::with_cmdline("2.0", &format!("root=PARTUUID={}", partuuid("b")))).ok();
    assert!(run.stderr.contains("panic="), "{}", run.stderr);
    let tree = machine();
    assert_eq!(write(&tree, &Image::new("2.0", "b")).ok().stderr, "");
}

#[test]
fn a_uki_without_panic_is_refused_where_the_configuration_says_so_before_anything_is_changed() {
    let tree = machine();
    let before = fs::read(tree.path("dev/sda3")).unwrap();
    fs::create_dir_all(tree.path("etc/abide/abide.d")).unwrap();
    fs::write(tree.path("etc/abide/abide.d/50-panic.toml"), "[write]\npanic = \"require\"\n").unwrap();
    for panic in ["", " panic=0"] {
        let cmdline = format!("root=PARTUUID={}{panic}", partuuid("b"));
        let run = write(&tree, &Image::with_cmdline("2.0", &cmdline)).fails(6);
        assert!(run.stderr.contains("[write] panic"), "{}", run.stderr);
    }
    assert_eq!(fs::read(tree.path("dev/sda3")).unwrap(), before);
    write(&tree, &Image::new("2.0", "b")).ok();
}

#[test]
fn images_beyond_two_and_four_gib_arrive_whole() {
    const GIB: u64 = 1 << 30;
    let len = 4 * GIB + 12 * 1024;
    let tree = machine();
    fs::OpenOptions::new().write(true).open(tree.path("dev/sda3")).unwrap().set_len(5 * GIB).unwrap();
    let parts =
        [("esp", gpt::partition_types::EFI, 1 << 20), ("rootfs", gpt::partition_types::LINUX_ROOT_X64, len)];
    let (head, starts, disk_len) = front(&parts);
    let esp = Image::new("2.0", "b").bytes()[1 << 20..2 << 20].to_vec();
    assert_eq!(starts, [1 << 20, 2 << 20]);
    let marks = [0, 2 * GIB - 4096, 2 * GIB, 4 * GIB - 4096, 4 * GIB, len - 4096];
    let mut packed = zst(&[head, esp].concat());
    let zeros = zst(&vec![0; 64 << 20]);
    let mut at = 0;
    for mark in marks {
        packed.extend(empty(mark - at, &zeros));
        packed.extend(zst(&noise(4096, mark)));
        at = mark + 4096;
    }
    packed.extend(empty(disk_len - (2 << 20) - len, &zeros));
    let path = publish(&tree, "image.zst", &packed);
    tree.abide(&["write", &path]).ok();
    let slot = fs::File::open(tree.path("dev/sda3")).unwrap();
    for mark in marks {
        let mut page = vec![0; 4096];
        std::os::unix::fs::FileExt::read_exact_at(&slot, &mut page, mark).unwrap();
        assert!(page == noise(4096, mark), "at {mark}");
    }
}

/// Frames of so many zeros.
fn empty(len: u64, zeros: &[u8]) -> Vec<u8> {
    let mut frames = zeros.repeat(usize::try_from(len >> 26).unwrap());
    frames.extend(zst(&vec![0; usize::try_from(len & ((64 << 20) - 1)).unwrap()]));
    frames
}

//! Images that do not fit this machine, or are not wanted on it.

use super::*;

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
        format!("root=LABEL=rootfs boot_uuid={}", partuuid("b")),
        format!("roothash={}", "ab".repeat(32)),
    ];
    for cmdline in roots {
        let tree = machine();
        write(&tree, &Image::with_cmdline("2.0", &cmdline)).fails(6);
        untouched(&tree);
    }
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
fn a_version_that_cannot_be_the_name_of_an_entry_is_refused() {
    let long = "2.0".repeat(100);
    for (version, told) in [
        ("2.0+git", "'+'"),
        (
            "2026-06-01T10:30:00",
            "'edge_2026-06-01T10:30:00' cannot be the name of a boot entry: FAT does not allow names with ':'",
        ),
        ("1:2.0", "IMAGE_VERSION"),
        ("2.0?", "'?'"),
        (&long, "305 characters"),
    ] {
        let tree = machine();
        let image = Image { uki: Some(uki("edge", version, &cmdline("b"))), ..Image::new("2.0", "b") };
        let run = write(&tree, &image).fails(6);
        assert!(run.stderr.contains(told), "{}", run.stderr);
        untouched(&tree);
    }
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
        assert!(run.stderr.contains("no report came from its initramfs"), "{}", run.stderr);
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
fn a_uki_without_panic_is_warned_about() {
    let tree = machine();
    let run = write(&tree, &Image::with_cmdline("2.0", &format!("root=PARTUUID={}", partuuid("b")))).ok();
    assert!(run.stderr.contains("panic="), "{}", run.stderr);
    let tree = machine();
    assert_eq!(write(&tree, &Image::new("2.0", "b")).ok().stderr, "");
}

#[test]
fn a_uki_without_panic_is_refused_where_the_configuration_asks_for_it() {
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

//! Images that end in the other slot.

use super::*;

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
    tree.abide(&["commit", "--now"]).ok();
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
fn a_partition_in_root_goes_before_boot_uuid() {
    let tree = machine();
    let (uuid, other) = ("11111111-2222-4333-8444-555555555555", "99999999-2222-4333-8444-555555555555");
    let cmdline = format!("root=PARTUUID={uuid} boot_uuid={other} panic=1");
    write(&tree, &Image::with_cmdline("2.0", &cmdline)).ok();
    assert!(tree.path(&format!("dev/disk/by-partuuid/{uuid}")).exists());
}

#[test]
fn a_slot_with_a_label_of_sysupdate_gets_the_label_of_its_new_content() {
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
fn a_root_named_by_the_label_of_the_other_slot_is_accepted() {
    let tree = machine();
    let image = Image::with_cmdline("2.0", "root=PARTLABEL=rootfs_b panic=1");
    write(&tree, &image).ok();
    staged(&tree, &image, &image.bytes());
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
fn a_root_before_the_esp_needs_a_file_that_can_be_read_twice() {
    let image = Image { root_first: true, ..Image::new("2.0", "b") };
    let tree = machine();
    write(&tree, &image).ok();
    staged(&tree, &image, &image.bytes());
    let tree = machine_without_signatures();
    let run = tree.abide(&["write", &serve(Answer::Whole(image.zst()))]).fails(3);
    assert!(run.stderr.contains("one pass"), "{}", run.stderr);
    untouched(&tree);
}

//! Images that are not what they were.

use super::*;

#[test]
fn a_wrong_digest_of_a_file_changes_nothing() {
    let tree = machine();
    let path = publish(&tree, "image.raw", &Image::new("2.0", "b").bytes());
    tree.abide(&["write", &path, "--sha256", &digest(b"another")]).fails(7);
    untouched(&tree);
    tree.abide(&["write", &path]).ok();
}

#[test]
fn a_wrong_digest_of_what_is_read_once_leaves_the_slot_unbootable() {
    let tree = machine();
    let url = serve(Answer::Bare(Image::new("2.0", "b").bytes()));
    tree.abide(&["write", &url, "--sha256", &digest(b"another")]).fails(7);
    unbootable(&tree);
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

#[test]
fn a_digest_of_a_damaged_image_does_not_make_it_a_sound_one() {
    for packed in [Image::new("2.0", "b").gz(), checked_zst(&Image::new("2.0", "b"))] {
        for end in [2, 6] {
            let mut bytes = packed.clone();
            let at = bytes.len() - end;
            bytes[at] ^= 1;
            let is_checksum_of_zst = bytes.starts_with(&[0x28]) && end > 4;
            let tree = machine();
            let path = publish(&tree, "image", &bytes);
            let run = tree.abide(&["write", &path, "--sha256", &digest(&bytes)]);
            if !is_checksum_of_zst {
                run.fails(3);
                unbootable(&tree);
            }
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

//! Images of the wrong size, and of odd ones.

use super::*;

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
fn an_esp_of_any_size_is_not_read() {
    let tree = machine();
    let parts = [
        ("esp", gpt::partition_types::EFI, 17 << 30),
        ("rootfs", gpt::partition_types::LINUX_ROOT_X64, 1 << 20),
    ];
    let path = publish(&tree, "big.raw", &front(&parts).0);
    let run = tree.abide(&["write", &path]).fails(3);
    assert!(run.stderr.contains("its EFI system partition has 17 GiB"), "{}", run.stderr);
    untouched(&tree);
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

//! A write that is interrupted.

use super::*;

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
            match (tree.entries().len(), tree.state().update) {
                (2, _) => untouched(&tree),
                // Its entry goes first; the slot is not written before the state says so.
                (_, None) => assert!(read(&tree.path("dev/sda3")) == before(), "the slot was changed"),
                _ => unbootable(&tree),
            }
            write(&tree, &image).ok();
            staged(&tree, &image, &bytes);
        }
    }
}

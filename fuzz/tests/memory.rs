//! What the parsers may take of a small machine's memory.

use abide::image::Spool;
use abide_fuzz::{bombs, target};
use nix::sys::resource::{Resource, setrlimit};

/// Address space: the threads of a decoder alone reserve a third of it.
const LIMIT: u64 = 768 << 20;

#[test]
fn a_small_input_never_takes_a_lot_of_memory() {
    let bombs = bombs();
    setrlimit(Resource::RLIMIT_AS, LIMIT, LIMIT).unwrap();
    // An allocation that fails ends the process.
    for (name, bomb) in &bombs {
        println!("{name}: {} bytes", bomb.len());
        assert!(bomb.len() < 4 << 20);
        (target(name).unwrap().run)(bomb);
    }
    // The ESP of an image, 3 GiB without an empty block, where no file can be made.
    let kept = Spool::new(vec![]).keep_all(3 << 30, |block| {
        block.fill(1);
        Ok(())
    });
    assert!(kept.is_err());
}

//! Every target for a moment, with seeds that were changed at random. `ABIDE_SEED` starts elsewhere.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use abide_fuzz::{Mutator, TARGETS};

/// For each target.
const TIME: Duration = Duration::from_millis(500);

fn start() -> u64 {
    std::env::var("ABIDE_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1)
}

#[test]
fn every_target_survives_its_seeds_and_what_is_nearly_like_them() {
    for target in TARGETS {
        let (seeds, start) = ((target.seeds)(), start());
        seeds.iter().for_each(|seed| (target.run)(seed));
        let (mut mutator, began, mut count) = (Mutator(start), Instant::now(), 0_u64);
        while began.elapsed() < TIME {
            let bytes = mutator.next(&seeds);
            let survived = catch_unwind(AssertUnwindSafe(|| (target.run)(&bytes)));
            assert!(survived.is_ok(), "{}: number {count} from {start}: {:02x?}", target.name, bytes);
            count += 1;
        }
        println!("{}: {} seeds, {count} executions", target.name, seeds.len());
    }
}

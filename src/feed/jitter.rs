//! Random times that are the same on every call.
//!
//! They are derived from the machine's identity, so a machine keeps its times over restarts without storing
//! anything, and a thousand machines that boot together after a power cut do not poll together: each has its
//! own offset in the interval.

use std::time::Duration;

use jiff::Timestamp;
use ring::digest::{Context, SHA256};

/// A number derived from the words: a machine's id, and what is spread, such as `"poll"` or the digest of an
/// image.
#[must_use]
pub fn seed(words: &[&str]) -> u64 {
    let mut hash = Context::new(&SHA256);
    for word in words {
        hash.update(&(word.len() as u64).to_le_bytes());
        hash.update(word.as_bytes());
    }
    hash.finish().as_ref().first_chunk().map_or(0, |first| u64::from_le_bytes(*first))
}

/// A duration between 0 and `span`, evenly distributed over all seeds.
#[must_use]
pub fn share(seed: u64, span: Duration) -> Duration {
    let nanos = (u128::from(seed) * span.as_nanos()) >> 64;
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

/// The time of the next poll after `after`: once per `interval`, at the machine's own offset within the first
/// `jitter` of it. Intervals are counted from 1970, so the time is the same after every restart.
#[must_use]
pub fn next_poll(seed: u64, after: Timestamp, interval: Duration, jitter: Duration) -> Timestamp {
    let interval = i64::try_from(interval.as_secs()).unwrap_or(i64::MAX).max(1);
    let share = i64::try_from(share(seed, jitter).as_secs()).unwrap_or(0).min(interval - 1);
    let now = after.as_second();
    let this = now - now.rem_euclid(interval) + share;
    let next = if this > now { this } else { this.saturating_add(interval) };
    Timestamp::from_second(next).unwrap_or(Timestamp::MAX)
}

/// When the download of a release that was found at `found` starts: at a random time within `spread`, and in the
/// first half of the time until the window opens at `opens`, so that it is complete by then.
#[must_use]
pub fn download_at(seed: u64, found: Timestamp, opens: Option<Timestamp>, spread: Duration) -> Timestamp {
    let spread = match opens {
        None => spread,
        Some(opens) => spread.min(Duration::try_from(found.duration_until(opens)).unwrap_or_default() / 2),
    };
    found.checked_add(share(seed, spread)).unwrap_or(found)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use proptest::prelude::*;

    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn seeds_depend_on_every_word_and_on_where_it_ends() {
        let all = [seed(&["a", "poll"]), seed(&["b", "poll"]), seed(&["a", "load"]), seed(&["ap", "oll"])];
        assert!(all.iter().enumerate().all(|(i, a)| all.iter().skip(i + 1).all(|b| a != b)));
        assert_eq!(seed(&["a", "poll"]), all[0]);
    }

    #[test]
    fn the_shares_of_many_machines_are_even() {
        let mut counts = [0_u32; 10];
        for n in 0..10_000 {
            let share = share(seed(&[&n.to_string()]), HOUR).as_secs();
            counts[usize::try_from(share / 360).unwrap()] += 1;
        }
        assert!(counts.iter().all(|n| (850..1150).contains(n)), "{counts:?}");
    }

    #[test]
    fn machines_that_start_together_do_not_poll_together() {
        let now = at(1_700_000_000);
        let mut polls: Vec<_> =
            (0..1000).map(|n| next_poll(seed(&[&n.to_string()]), now, HOUR, HOUR).as_second()).collect();
        polls.sort_unstable();
        // 1000 in 3600 seconds: never more than a few within the same ten.
        assert!(polls.windows(15).all(|w| w[14] - w[0] >= 10));
    }

    proptest! {
        #[test]
        fn there_is_one_poll_in_each_interval(
            seed: u64, now in 0..4_000_000_000_i64, interval in 60..100_000_u64, part in 0.0..=1.0_f64
        ) {
            let interval = Duration::from_secs(interval);
            let jitter = interval.mul_f64(part);
            let first = next_poll(seed, at(now), interval, jitter);
            let second = next_poll(seed, first, interval, jitter);
            prop_assert!(first > at(now) && first <= at(now).checked_add(interval).unwrap());
            prop_assert_eq!(first.duration_until(second), jiff::SignedDuration::try_from(interval).unwrap());
            // Between two polls the result stays the same.
            prop_assert_eq!(next_poll(seed, first.checked_sub(jiff::SignedDuration::from_secs(1)).unwrap(), interval, jitter), first);
        }

        #[test]
        fn a_download_starts_within_the_spread_and_well_before_the_window(
            seed: u64, until in proptest::option::of(-1000..100_000_i64), spread in 0..200_000_u64
        ) {
            let found = at(1_700_000_000);
            let opens = until.map(|s| at(1_700_000_000 + s));
            let start = download_at(seed, found, opens, Duration::from_secs(spread));
            prop_assert!(start >= found);
            prop_assert!(start.as_second() - found.as_second() <= i64::try_from(spread).unwrap());
            if let Some(until) = until.filter(|s| *s > 0) {
                prop_assert!(start.as_second() - found.as_second() <= until / 2);
            }
        }
    }
}

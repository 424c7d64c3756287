//! When an image that failed may be tried again, where `retry_failed` is set.

use std::time::Duration;

use jiff::Timestamp;

use crate::config::update::RetryFailed;

/// How long to wait after the failure number `times`: twice as long after each failure.
#[must_use]
pub fn wait(rule: &RetryFailed, times: u32) -> Duration {
    let doublings = times.saturating_sub(1).min(31);
    rule.first.saturating_mul(1 << doublings).min(rule.most)
}

/// When an image may be tried again whose last failure was at `failed`. A failure in the future counts as one of
/// now: the clock was wrong then, or is wrong now.
#[must_use]
pub fn until(rule: &RetryFailed, failed: Timestamp, times: u32, now: Timestamp) -> Timestamp {
    failed.min(now).checked_add(wait(rule, times)).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);
    const RULE: RetryFailed =
        RetryFailed { first: Duration::from_secs(8 * 3600), most: Duration::from_secs(14 * 86400) };

    #[test]
    fn the_wait_doubles_from_hours_to_weeks() {
        let hours: Vec<u64> = (0..9).map(|times| wait(&RULE, times).as_secs() / 3600).collect();
        assert_eq!(hours, [8, 8, 16, 32, 64, 128, 256, 336, 336]);
        assert_eq!(wait(&RULE, u32::MAX), RULE.most);
    }

    #[test]
    fn a_failure_in_the_future_counts_as_one_of_now() {
        let now = Timestamp::UNIX_EPOCH;
        let later = now + 1000 * HOUR;
        assert_eq!(until(&RULE, later, 1, now), now + 8 * HOUR);
        assert_eq!(until(&RULE, now, 1, later), now + 8 * HOUR);
    }

    proptest! {
        #[test]
        fn the_wait_never_shrinks_and_stays_within_its_bounds(
            first in 60..1_000_000_u64, more in 0..10_000_000_u64, times in 1..100_u32
        ) {
            let rule = RetryFailed { first: Duration::from_secs(first), most: Duration::from_secs(first + more) };
            let (this, next) = (wait(&rule, times), wait(&rule, times + 1));
            prop_assert!(rule.first <= this && this <= next && next <= rule.most);
        }
    }
}

//! Downloads of a release that failed, and when it is tried again. Looking at the list changes nothing about that.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::feed::download::FetchError;
use crate::feed::jitter::{seed, share};
use abide_core::text;

/// The delay after the first failure, doubled after each further one.
const FIRST_RETRY: Duration = Duration::from_secs(2 * 60);

/// The upper bound of the delay.
const LAST_RETRY: Duration = Duration::from_secs(24 * 60 * 60);

/// Failures in a row after which the length that a server has declared first is doubted.
const MAX_DOUBTS: u32 = 3;

/// The failed downloads of one release, since the last success.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Attempts {
    /// The digest of the release.
    pub digest: String,
    /// How many failed in a row without a new byte.
    pub failures: u32,
    /// How many of them had an answer of the server: the file is missing, or another one.
    pub definite: u32,
    /// When the last one failed, in seconds since 1970.
    pub failed: Option<i64>,
    /// Why.
    #[serde(deserialize_with = "text::read_optional")]
    pub error: Option<String>,
    /// The lengths of the release's files, by digest, as a server has declared them first.
    pub lengths: BTreeMap<String, u64>,
}

impl Attempts {
    /// Starts over if this is about another release.
    pub fn set_release(&mut self, digest: &str) {
        if self.digest != digest {
            *self = Self { digest: digest.to_owned(), ..Self::default() };
        }
    }

    /// Notes a failure. One that has brought new bytes does not lengthen the delay: the next attempt continues there.
    pub fn set_failed(&mut self, e: &FetchError, now: Timestamp, has_progressed: bool) {
        if self.failures == 0 || !has_progressed {
            self.failures = self.failures.saturating_add(1);
            self.definite = self.definite.saturating_add(u32::from(!e.is_outage));
        }
        self.failed = Some(now.as_second());
        self.error = Some(text::line(&e.error.to_string()));
    }

    /// Whether the declared lengths are doubted.
    #[must_use]
    pub fn is_doubted(&self) -> bool {
        self.failures >= MAX_DOUBTS
    }

    /// Why the last download of the release failed, if it did.
    #[must_use]
    pub fn error_of(&self, digest: &str) -> Option<&str> {
        self.error.as_deref().filter(|_| self.digest == digest)
    }

    /// When the release may be downloaded again, if a download failed; at a moment of this machine. A failure in the
    /// future was dated by a wrong clock, and delays nothing.
    #[must_use]
    pub fn retry_at(&self, digest: &str, machine_id: &str, now: Timestamp) -> Option<Timestamp> {
        let failed = self.failed.filter(|_| self.digest == digest);
        let failed = failed.and_then(|failed| Timestamp::from_second(failed).ok())?;
        let delay = delay(self.failures);
        let spread = share(seed(&[machine_id, digest, "retry"]), delay / 4);
        failed.checked_add(delay + spread).ok().filter(|_| failed <= now)
    }
}

/// How long to wait after so many failures in a row.
fn delay(failures: u32) -> Duration {
    FIRST_RETRY.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(LAST_RETRY)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use abide_core::error::Error;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn failed(times: u32, has_progressed: bool) -> Attempts {
        let mut attempts = Attempts::default();
        attempts.set_release("d");
        for _ in 0..times {
            attempts.set_failed(&Error::Image("404".into()).into(), at(1000), has_progressed);
        }
        attempts
    }

    #[test]
    fn the_delay_of_a_download_doubles_up_to_a_day() {
        let minutes: Vec<u64> = (1..12).map(|n| delay(n).as_secs() / 60).collect();
        assert_eq!(minutes, [2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 1440]);
        assert_eq!(delay(u32::MAX), LAST_RETRY);
        for times in 1..20 {
            let wait = failed(times, false).retry_at("d", "m", at(1000)).unwrap().as_second() - 1000;
            let least = i64::try_from(delay(times).as_secs()).unwrap();
            assert!((least..=least + least / 4).contains(&wait), "{times}: {wait}");
        }
    }

    #[test]
    fn a_download_that_proceeds_is_tried_again_soon() {
        assert_eq!(failed(9, true).failures, 1);
        let mut attempts = failed(4, false);
        attempts.set_failed(&Error::Image("reset".into()).into(), at(1000), true);
        assert_eq!(attempts.failures, 4);
    }

    #[test]
    fn an_outage_is_no_answer_about_the_file() {
        let mut attempts = failed(2, false);
        let outage = FetchError { error: Error::Image("503".into()), is_outage: true };
        attempts.set_failed(&outage, at(1000), false);
        assert_eq!((attempts.failures, attempts.definite), (3, 2));
    }

    #[test]
    fn only_the_release_that_failed_is_delayed() {
        let mut attempts = failed(3, false);
        attempts.lengths.insert("f".into(), 7);
        assert_eq!((attempts.retry_at("other", "m", at(1000)), attempts.error_of("other")), (None, None));
        // A wrong clock, too, delays nothing.
        assert_eq!(attempts.retry_at("d", "m", at(999)), None);
        assert_eq!((attempts.is_doubted(), failed(2, false).is_doubted()), (true, false));
        attempts.set_release("d");
        assert_eq!(attempts.failures, 3);
        attempts.set_release("e");
        assert_eq!(attempts, Attempts { digest: "e".into(), ..Attempts::default() });
    }
}

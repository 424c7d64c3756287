//! Who signed, and when.

use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use jiff::tz::TimeZone;

use abide_core::error::Error;

/// How far a clock may be behind that of the publisher.
const SLACK: Duration = Duration::from_secs(24 * 60 * 60);

/// One valid signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signer {
    /// What tells the key from others: the fingerprint, or the public key itself.
    pub key: String,
    /// The file of the key.
    pub file: String,
    /// When it was signed, in seconds since 1970; none where the signature does not say so.
    pub time: Option<u64>,
}

impl Signer {
    /// The name of the key's file, without its folder.
    #[must_use]
    pub fn name(&self) -> &str {
        self.file.rsplit('/').next().unwrap_or(&self.file)
    }
}

/// How a refusal by the clock is told.
const CLOCK: &str = "but this machine's clock says";

/// Whether something is refused by the clock of this machine alone.
#[must_use]
pub fn is_by_clock(error: &Error) -> bool {
    error.to_string().contains(CLOCK)
}

/// Refuses a moment that has not come yet, for a signature that was made then or by a key that was.
///
/// # Errors
/// A sentence.
pub fn refuse_future(seconds: u64, now: SystemTime) -> Result<(), String> {
    let made = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds));
    match made {
        Some(made) if now.checked_add(SLACK).is_none_or(|latest| made <= latest) => Ok(()),
        made => Err(format!(
            "was made on {}, {CLOCK} {}; set the clock",
            made.map_or_else(|| "an impossible day".into(), day_of),
            day_of(now)
        )),
    }
}

/// The day of a moment, in UTC, for messages.
#[must_use]
pub fn day_of(time: SystemTime) -> String {
    Timestamp::try_from(time).map_or_else(|e| e.to_string(), |t| t.to_zoned(TimeZone::UTC).date().to_string())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_day_ahead_of_the_clock_is_accepted_and_two_are_not() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        assert_eq!(refuse_future(1_800_000_000 + 86_400, now), Ok(()));
        let why = refuse_future(1_800_000_000 + 2 * 86_400, now).unwrap_err();
        assert!(why.starts_with("was made on 2027-01-17, but this machine's clock says 2027-01-15"), "{why}");
        assert!(refuse_future(u64::MAX, now).is_err());
    }
}

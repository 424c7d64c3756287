//! When the units run next: at the moment of the next poll, download or window, and not every minute.

use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::agent::{End, Run};
use crate::systemd::transient_timer::TransientTimer;

/// The timer that is made for the next moment, beside `abide-update.timer`, which is coarse.
const TIMER: &str = "abide-update-next";

/// After this the part that talks to servers has its turn again. Not at once: it may have failed before it
/// could say so.
const OTHERS: Duration = Duration::from_secs(30);

/// What it starts.
const UNIT: &str = "abide-update.service";

impl Run<'_> {
    /// When there is something to do next.
    pub(super) fn next_moment(&self, end: Option<&End>, now: Timestamp) -> Timestamp {
        let until = match end {
            Some(End::Wait(wait)) => wait.until,
            // The other part is to ask, unless whom it asks is away.
            Some(End::Others) if self.seen.failures == 0 => now.checked_add(OTHERS).ok(),
            _ => None,
        };
        soonest(now, until, self.poll_at(now), self.config.update.interval)
    }
}

/// The first of the moments that are still to come. A poll that is due already may just have been tried in
/// vain, or have become due while an image was fetched and written: it comes once an `interval` later, however
/// far off the other moment is.
fn soonest(now: Timestamp, until: Option<Timestamp>, poll: Timestamp, interval: Duration) -> Timestamp {
    let is_to_come = |moment: &Timestamp| *moment > now;
    let poll = if is_to_come(&poll) { poll } else { now.checked_add(interval).unwrap_or(Timestamp::MAX) };
    until.filter(is_to_come).map_or(poll, |until| until.min(poll))
}

/// Has the units run again at `moment`. By the wall clock, so that setting the clock moves it, as it moves
/// the windows.
pub(super) fn schedule(moment: Timestamp) {
    let calendar = moment.to_zoned(TimeZone::UTC).strftime("%Y-%m-%d %H:%M:%S UTC").to_string();
    // A moment that is missed is caught up by the timer that is always there.
    TransientTimer {
        name: TIMER,
        description: "Abide: Next Step of an Update",
        calendar: &calendar,
        starts: UNIT,
    }
    .start();
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn the_next_moment_is_the_first_one_to_come() {
        assert_eq!(soonest(at(1000), Some(at(1030)), at(1040), MINUTE), at(1030));
        assert_eq!(soonest(at(1000), Some(at(1900)), at(1040), MINUTE), at(1040));
        assert_eq!(soonest(at(1000), None, at(1040), MINUTE), at(1040));
    }

    #[test]
    fn a_poll_that_became_due_meanwhile_does_not_wait_for_the_window() {
        assert_eq!(soonest(at(1000), Some(at(1900)), at(990), MINUTE), at(1060));
        assert_eq!(soonest(at(1000), Some(at(990)), at(1000), MINUTE), at(1060));
    }
}

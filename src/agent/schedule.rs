//! Schedules the next run of the units: at the time of the next poll, download or window.

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::systemd::transient_timer::TransientTimer;

/// The transient timer, beside `abide-update.timer`, which is coarse.
const TIMER: &str = "abide-update-next";

/// The unit that it starts.
const UNIT: &str = "abide-update.service";

/// Starts the units at `time`. The timer uses the wall clock, so that it moves with the clock as the windows do. If it
/// cannot be started, `abide-update.timer` starts the units later.
pub fn schedule(time: Timestamp) {
    let calendar = time.to_zoned(TimeZone::UTC).strftime("%Y-%m-%d %H:%M:%S UTC").to_string();
    TransientTimer {
        name: TIMER,
        description: "Abide: Next Step of an Update",
        calendar: &calendar,
        starts: UNIT,
    }
    .start();
}

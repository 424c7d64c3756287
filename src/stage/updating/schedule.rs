//! When the units run next: at the moment of the next poll, download or window, and not every minute.

use std::process::Command;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use log::{info, warn};

use super::{End, Run};

/// The timer that is made for the next moment, beside `abide-update.timer`, which is coarse.
const TIMER: &str = "abide-update-next";

/// What it starts.
const UNIT: &str = "abide-update.service";

impl Run<'_> {
    /// When there is something to do next.
    pub(super) fn next_moment(&self, end: Option<&End>, now: Timestamp) -> Timestamp {
        let poll = self.poll_at(now);
        match end {
            Some(End::Wait(wait)) => wait.until.map_or(poll, |until| until.min(poll)),
            // The other part is to ask, unless whom it asks is away.
            Some(End::Others) if self.seen.failures == 0 => now,
            _ => poll,
        }
    }
}

/// Has the units run again at `moment`. By the wall clock, so that setting the clock moves it, as it moves
/// the windows.
pub(super) fn schedule(moment: Timestamp) {
    let calendar = moment.to_zoned(TimeZone::UTC).strftime("--on-calendar=%Y-%m-%d %H:%M:%S UTC").to_string();
    // One from before, which may not be there.
    run("systemctl", &["--quiet", "stop", &format!("{TIMER}.timer")], false);
    let words = [
        "--quiet",
        "--collect",
        &format!("--unit={TIMER}"),
        "--description=Abide: Next Step of an Update",
        &calendar,
        "--timer-property=AccuracySec=1s",
        "systemctl",
        "--no-block",
        "start",
        UNIT,
    ];
    run("systemd-run", &words, true);
}

/// A moment that is missed is caught up by the timer that is always there.
fn run(program: &str, words: &[&str], matters: bool) {
    match Command::new(program).args(words).output() {
        Ok(output) if output.status.success() || !matters => {}
        Ok(output) => warn!("{program}: {}", String::from_utf8_lossy(&output.stderr).trim()),
        Err(e) if matters => warn!("{program}: {e}"),
        Err(e) => info!("{program}: {e}"),
    }
}

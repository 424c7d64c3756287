//! Maintenance windows: whether a reboot may start now, and if not, when.
//!
//! A window opens when the clock of its time zone shows its start, and stays open for its length in real time.
//! So a change to or from summer time makes it neither shorter nor longer, and does not open it twice.

use std::time::Duration;

use jiff::civil::Date;
use jiff::{Timestamp, ToSpan};

use crate::config::update::MaintenanceWindow;

/// How far ahead the next opening of a weekly window lies at most, in days.
const AHEAD: i64 = 8;

/// One opening of a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct WindowOpening {
    /// Its start.
    from: Timestamp,
    /// Its end, exclusive.
    until: Timestamp,
    /// The last time at which an update may start in it, where `latest_start` is set.
    latest_start: Option<Timestamp>,
}

/// When an update may start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Begin {
    /// Now; with the end of the window, if there are windows.
    Now(Option<Timestamp>),
    /// At this time.
    At(Timestamp),
    /// Never: all windows are on dates in the past, or none is long enough.
    Never,
}

impl WindowOpening {
    /// The last time at which an update that takes `needs` may start in it: `latest_start`, else `needs` before the
    /// end; before `from` if the window is too short.
    fn latest(&self, needs: Duration) -> Timestamp {
        self.latest_start.unwrap_or_else(|| self.until.checked_sub(needs).unwrap_or(Timestamp::MIN))
    }

    /// Whether an update that takes `needs` may start at `moment`.
    fn admits(&self, moment: Timestamp, needs: Duration) -> bool {
        self.from <= moment && moment < self.until && moment <= self.latest(needs)
    }
}

/// When an update that takes `needs` may start. Without windows: always now.
#[must_use]
pub fn begin(windows: &[MaintenanceWindow], now: Timestamp, needs: Duration) -> Begin {
    if windows.is_empty() {
        return Begin::Now(None);
    }
    let fits: Vec<WindowOpening> = openings(windows, now).filter(|o| o.latest(needs) >= o.from).collect();
    let open = fits.iter().filter(|o| o.admits(now, needs)).max_by_key(|o| o.until);
    match (open, fits.iter().map(|o| o.from).filter(|from| *from > now).min()) {
        (Some(open), _) => Begin::Now(Some(open.until)),
        (None, Some(next)) => Begin::At(next),
        (None, None) => Begin::Never,
    }
}

/// The openings that end after `now`: of a weekly window those of the next days, of dates all.
fn openings(windows: &[MaintenanceWindow], now: Timestamp) -> impl Iterator<Item = WindowOpening> + '_ {
    windows.iter().flat_map(move |window| of_window(window, now)).filter(move |o| o.until > now)
}

fn of_window(window: &MaintenanceWindow, now: Timestamp) -> impl Iterator<Item = WindowOpening> + '_ {
    let today = now.to_zoned(window.zone.rules().clone()).date();
    let before = i64::try_from(window.length.as_secs() / 86_400).unwrap_or(0) + 2;
    let near = (-before..=AHEAD).filter_map(move |days| today.checked_add(days.days()).ok());
    let far = window.dates.iter().copied().filter(move |date| *date > today);
    near.chain(far).filter(|date| window.opens_on(*date)).filter_map(|date| opening(window, date))
}

/// The opening of `window` on `date`; none outside the supported range of time.
fn opening(window: &MaintenanceWindow, date: Date) -> Option<WindowOpening> {
    let start = date.to_datetime(window.start);
    let from = window.zone.rules().to_ambiguous_timestamp(start).compatible().ok()?;
    let latest_start = window.latest_start.map(|latest| from.checked_add(latest)).transpose().ok()?;
    Some(WindowOpening { from, until: from.checked_add(window.length).ok()?, latest_start })
}

#[cfg(test)]
mod tests;

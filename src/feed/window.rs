//! The windows in which a machine may be rebooted: whether one is open, and when the next one opens.
//!
//! A window opens when the clock of its zone shows its start, and stays open for its length in real time. So
//! it is never shorter or longer on the days on which the clock is set, and never opens twice in a night.

use std::time::Duration;

use jiff::civil::Date;
use jiff::{Timestamp, ToSpan};

use crate::config::update::MaintenanceWindow;

/// How far ahead the next opening of a weekly window lies at most, in days.
const AHEAD: i64 = 8;

/// One opening of a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Opening {
    /// Its first moment.
    pub from: Timestamp,
    /// The first moment after it.
    pub until: Timestamp,
    /// The last moment at which an update may be begun in it, where the configuration says so.
    latest_start: Option<Timestamp>,
}

/// Whether something may be begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Begin {
    /// Right now; with the end of the window, if there is one.
    Now(Option<Timestamp>),
    /// Not before this.
    At(Timestamp),
    /// In no window that is still to come: all of them are on single days that have passed, or none is long enough.
    Never,
}

impl Opening {
    /// The last moment at which what takes `needs` may be begun in it: what `latest_start` says, else such that it ends
    /// in time; before `from` if it never fits.
    fn latest(&self, needs: Duration) -> Timestamp {
        self.latest_start.unwrap_or_else(|| self.until.checked_sub(needs).unwrap_or(Timestamp::MIN))
    }

    /// Whether what takes `needs` may be begun at `moment`.
    fn admits(&self, moment: Timestamp, needs: Duration) -> bool {
        self.from <= moment && moment < self.until && moment <= self.latest(needs)
    }
}

/// Whether what takes `needs` may be begun at `now`, or when. Without windows, always.
#[must_use]
pub fn begin(windows: &[MaintenanceWindow], now: Timestamp, needs: Duration) -> Begin {
    if windows.is_empty() {
        return Begin::Now(None);
    }
    let fits: Vec<Opening> = openings(windows, now).filter(|o| o.latest(needs) >= o.from).collect();
    let open = fits.iter().filter(|o| o.admits(now, needs)).max_by_key(|o| o.until);
    match (open, fits.iter().map(|o| o.from).filter(|from| *from > now).min()) {
        (Some(open), _) => Begin::Now(Some(open.until)),
        (None, Some(next)) => Begin::At(next),
        (None, None) => Begin::Never,
    }
}

/// The window that is open at `now`; of several the one that is open longest.
#[must_use]
pub fn open(windows: &[MaintenanceWindow], now: Timestamp) -> Option<Opening> {
    openings(windows, now).filter(|o| o.from <= now && now < o.until).max_by_key(|o| o.until)
}

/// When a window opens next, after `now`.
#[must_use]
pub fn next(windows: &[MaintenanceWindow], now: Timestamp) -> Option<Opening> {
    openings(windows, now).filter(|o| o.from > now).min_by_key(|o| o.from)
}

/// The openings that are not over at `now`: of every window those of the next days at least, and all on single days.
fn openings(windows: &[MaintenanceWindow], now: Timestamp) -> impl Iterator<Item = Opening> + '_ {
    windows.iter().flat_map(move |window| of_window(window, now)).filter(move |o| o.until > now)
}

fn of_window(window: &MaintenanceWindow, now: Timestamp) -> impl Iterator<Item = Opening> + '_ {
    let today = now.to_zoned(window.zone.rules().clone()).date();
    let before = i64::try_from(window.length.as_secs() / 86_400).unwrap_or(0) + 2;
    let near = (-before..=AHEAD).filter_map(move |days| today.checked_add(days.days()).ok());
    let far = window.days.dates().iter().copied().filter(move |date| *date > today);
    near.chain(far).filter(|date| window.days.has(*date)).filter_map(|date| opening(window, date))
}

/// The opening of `window` on `date`; none at the end of what can be counted.
fn opening(window: &MaintenanceWindow, date: Date) -> Option<Opening> {
    let start = date.to_datetime(window.start);
    let from = window.zone.rules().to_ambiguous_timestamp(start).compatible().ok()?;
    let latest_start = window.latest_start.map(|latest| from.checked_add(latest)).transpose().ok()?;
    Some(Opening { from, until: from.checked_add(window.length).ok()?, latest_start })
}

#[cfg(test)]
mod tests;

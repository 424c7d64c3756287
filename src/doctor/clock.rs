//! A clock that is far off.

use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::doctor::finding::Finding;
use abide_core::root::Root;
use abide_core::state::State;

const DAY: i64 = 24 * 60 * 60;
const YEAR: i64 = 365 * DAY;

/// If the clock is ahead by less, old files do not show it.
const AHEAD: i64 = 20 * YEAR;

/// Files whose time is that of a build, or of the last time at which the clock was right
/// (systemd-timesyncd.service(8), systemd(1)).
const DATED: [&str; 4] = [
    "/usr/lib/clock-epoch",
    "/usr/lib/os-release",
    "/var/lib/systemd/timesync/clock",
    "/var/lib/systemd/clock",
];

/// `now` and `known` in seconds since 1970; `known` is the latest instant that has certainly passed.
pub(super) fn look(now: i64, known: Option<i64>) -> Vec<Finding> {
    let Some(known) = known else { return vec![] };
    let what = if now < known - DAY {
        format!("the clock shows {}, but files of this system are from {}", date(now), date(known))
    } else if now > known + AHEAD {
        format!(
            "the clock shows {}, which is {} years after the newest file of this system",
            date(now),
            (now - known) / YEAR
        )
    } else {
        return vec![];
    };
    vec![
        Finding::warning("clock", what)
            .because(
                "certificates seem expired or not yet valid, so updates cannot be fetched over HTTPS; maintenance windows \
                 open at the wrong time; failure records have wrong times (no deadline depends on the clock)",
            )
            .remedy("set the clock, or enable a time service (`timedatectl status`)"),
    ]
}

fn date(seconds: i64) -> String {
    jiff::Timestamp::from_second(seconds)
        .map_or_else(|_| "an invalid date".to_owned(), |t| t.strftime("%Y-%m-%d").to_string())
}

/// Now, in seconds since 1970.
pub(super) fn now() -> i64 {
    seconds(SystemTime::now())
}

/// The latest instant that has certainly passed, by what files and records say.
pub(super) fn known_past(root: &Root, state: Option<&State>) -> Option<i64> {
    let files =
        DATED.iter().filter_map(|path| fs::metadata(root.path(path)).ok()?.modified().ok()).map(seconds);
    let failures = state.into_iter().flat_map(|s| s.failures.iter().map(|f| f.time.as_str()));
    let ended = state.and_then(|s| s.update.as_ref()?.ended.as_deref());
    let recorded =
        failures.chain(ended).filter_map(|text| Some(text.parse::<jiff::Timestamp>().ok()?.as_second()));
    files.chain(recorded).max()
}

fn seconds(time: SystemTime) -> i64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |d| i64::try_from(d.as_secs()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_before_what_is_known_or_decades_after_it_is_off() {
        let built = 1_767_225_600;
        assert!(look(built, None).is_empty());
        assert!(look(built - DAY, Some(built)).is_empty());
        assert!(look(built + 10 * YEAR, Some(built)).is_empty());
        assert!(look(0, Some(built)).first().is_some_and(|f| f.what.contains("1970-01-01")));
        assert_eq!(look(built + 30 * YEAR, Some(built)).len(), 1);
    }
}

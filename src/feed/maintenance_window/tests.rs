#![allow(clippy::unwrap_used)]

use std::sync::LazyLock;

use jiff::SignedDuration;
use jiff::civil::{Time, Weekday, date, time};
use proptest::prelude::*;

use super::*;
use crate::config::update::Zone;

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
const WEEK: [Weekday; 7] = [
    Weekday::Monday,
    Weekday::Tuesday,
    Weekday::Wednesday,
    Weekday::Thursday,
    Weekday::Friday,
    Weekday::Saturday,
    Weekday::Sunday,
];

fn window(week: &[Weekday], dates: &[Date], start: Time, length: Duration, zone: &str) -> MaintenanceWindow {
    // Looking them up unpacks all of them.
    static FOUND: LazyLock<Vec<Zone>> =
        LazyLock::new(|| ZONES.iter().map(|name| Zone::find(name).unwrap()).collect());
    let zone = FOUND.iter().find(|found| found.name() == zone).unwrap();
    MaintenanceWindow::new(week.to_vec(), dates.to_vec(), start, length, zone.clone())
}

fn daily(start: Time, length: Duration, zone: &str) -> MaintenanceWindow {
    window(&WEEK, &[], start, length, zone)
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// The window that is open at `now`; of several the one with the latest end.
fn open(windows: &[MaintenanceWindow], now: Timestamp) -> Option<WindowOpening> {
    openings(windows, now).filter(|o| o.from <= now && now < o.until).max_by_key(|o| o.until)
}

/// The next opening after `now`.
fn next(windows: &[MaintenanceWindow], now: Timestamp) -> Option<WindowOpening> {
    openings(windows, now).filter(|o| o.from > now).min_by_key(|o| o.from)
}

fn begins(window: &MaintenanceWindow, now: &str, needs: Duration) -> Begin {
    begin(std::slice::from_ref(window), at(now), needs)
}

#[test]
fn without_windows_an_update_starts_at_once() {
    assert_eq!(begin(&[], at("2026-01-01T00:00:00Z"), 100 * HOUR), Begin::Now(None));
}

#[test]
fn a_window_is_open_from_its_start_until_before_its_end() {
    let night = daily(time(2, 0, 0, 0), 2 * HOUR, "UTC");
    let open_at = |now: &str| open(std::slice::from_ref(&night), at(now)).is_some();
    assert!(!open_at("2026-01-01T01:59:59.999Z") && open_at("2026-01-01T02:00:00Z"));
    assert!(open_at("2026-01-01T03:59:59.999Z") && !open_at("2026-01-01T04:00:00Z"));
    assert_eq!(begins(&night, "2026-01-01T04:00:00Z", MINUTE), Begin::At(at("2026-01-02T02:00:00Z")));
}

#[test]
fn an_update_that_would_not_end_in_time_waits_for_the_next_window() {
    let night = daily(time(2, 0, 0, 0), 2 * HOUR, "UTC");
    assert_eq!(
        begins(&night, "2026-01-01T03:30:00Z", HOUR / 2),
        Begin::Now(Some(at("2026-01-01T04:00:00Z")))
    );
    assert_eq!(begins(&night, "2026-01-01T03:30:01Z", HOUR / 2), Begin::At(at("2026-01-02T02:00:00Z")));
    assert_eq!(begins(&night, "2026-01-01T02:00:00Z", 3 * HOUR), Begin::Never);
}

#[test]
fn a_latest_start_replaces_the_required_length() {
    let night = MaintenanceWindow { latest_start: Some(HOUR), ..daily(time(2, 0, 0, 0), 2 * HOUR, "UTC") };
    assert_eq!(
        begins(&night, "2026-01-01T03:00:00Z", 10 * HOUR),
        Begin::Now(Some(at("2026-01-01T04:00:00Z")))
    );
    assert_eq!(begins(&night, "2026-01-01T03:00:01Z", MINUTE), Begin::At(at("2026-01-02T02:00:00Z")));
}

#[test]
fn a_window_that_opens_on_friday_night_is_open_on_saturday() {
    let friday = window(&[Weekday::Friday], &[], time(23, 0, 0, 0), 4 * HOUR, "Europe/Berlin");
    assert_eq!(begins(&friday, "2026-01-10T00:30:00Z", HOUR), Begin::Now(Some(at("2026-01-10T02:00:00Z"))));
    // Thursday night is not Friday.
    assert_eq!(begins(&friday, "2026-01-09T00:30:00Z", HOUR), Begin::At(at("2026-01-09T22:00:00Z")));
    let long = window(&[Weekday::Friday], &[], time(20, 0, 0, 0), 56 * HOUR, "UTC");
    assert_eq!(begins(&long, "2026-01-12T03:00:00Z", HOUR), Begin::Now(Some(at("2026-01-12T04:00:00Z"))));
}

#[test]
fn a_date_opens_once_however_far_away() {
    let dates = [date(2026, 12, 24), date(2027, 6, 1)];
    let window = window(&[], &dates, time(9, 0, 0, 0), HOUR, "America/New_York");
    assert_eq!(begins(&window, "2026-01-01T00:00:00Z", MINUTE), Begin::At(at("2026-12-24T14:00:00Z")));
    assert_eq!(begins(&window, "2026-12-24T14:30:00Z", MINUTE), Begin::Now(Some(at("2026-12-24T15:00:00Z"))));
    assert_eq!(begins(&window, "2026-12-24T15:00:00Z", MINUTE), Begin::At(at("2027-06-01T13:00:00Z")));
    assert_eq!(begins(&window, "2027-06-01T14:00:00Z", MINUTE), Begin::Never);
}

#[test]
fn a_start_that_the_clock_skips_is_as_long_after_the_change() {
    // In Berlin the clock goes from 02:00 to 03:00 on 2026-03-29, at 01:00 UTC.
    let night = daily(time(2, 30, 0, 0), HOUR, "Europe/Berlin");
    let windows = std::slice::from_ref(&night);
    let opening = next(windows, at("2026-03-28T12:00:00Z")).unwrap();
    assert_eq!((opening.from, opening.until), (at("2026-03-29T01:30:00Z"), at("2026-03-29T02:30:00Z")));
    assert_eq!(next(windows, opening.from).unwrap().from, at("2026-03-30T00:30:00Z"));
}

#[test]
fn a_start_that_the_clock_shows_twice_opens_the_window_once() {
    // In Berlin the clock goes back from 03:00 to 02:00 on 2026-10-25, at 01:00 UTC.
    let night = daily(time(2, 30, 0, 0), HOUR / 2, "Europe/Berlin");
    let windows = std::slice::from_ref(&night);
    let opening = next(windows, at("2026-10-24T12:00:00Z")).unwrap();
    assert_eq!((opening.from, opening.until), (at("2026-10-25T00:30:00Z"), at("2026-10-25T01:00:00Z")));
    assert_eq!(open(windows, at("2026-10-25T01:40:00Z")), None);
    assert_eq!(next(windows, opening.from).unwrap().from, at("2026-10-26T01:30:00Z"));
}

#[test]
fn the_length_is_real_time_on_nights_with_a_clock_change() {
    let night = daily(time(1, 0, 0, 0), 3 * HOUR, "Europe/Berlin");
    for (before, from, until) in [
        ("2026-03-28T12:00:00Z", "2026-03-29T00:00:00Z", "2026-03-29T03:00:00Z"),
        ("2026-10-24T12:00:00Z", "2026-10-24T23:00:00Z", "2026-10-25T02:00:00Z"),
    ] {
        let opening = next(std::slice::from_ref(&night), at(before)).unwrap();
        assert_eq!((opening.from, opening.until), (at(from), at(until)));
    }
}

#[test]
fn a_day_that_a_zone_skips_affects_no_other_day() {
    // Samoa went from the 29th to the 31st of December 2011.
    let noon = daily(time(12, 0, 0, 0), HOUR, "Pacific/Apia");
    let windows = std::slice::from_ref(&noon);
    let first = next(windows, at("2011-12-29T12:00:00Z")).unwrap();
    let second = next(windows, first.from).unwrap();
    assert_eq!((first.from, second.from), (at("2011-12-29T22:00:00Z"), at("2011-12-30T22:00:00Z")));
}

#[test]
fn of_overlapping_windows_the_latest_end_counts() {
    let windows = [
        daily(time(1, 0, 0, 0), 2 * HOUR, "UTC"),
        daily(time(2, 0, 0, 0), 2 * HOUR, "UTC"),
        daily(time(0, 0, 0, 0), HOUR, "Asia/Tokyo"),
    ];
    assert_eq!(
        begin(&windows, at("2026-01-01T02:30:00Z"), HOUR),
        Begin::Now(Some(at("2026-01-01T04:00:00Z")))
    );
    assert_eq!(begin(&windows, at("2026-01-01T05:00:00Z"), HOUR), Begin::At(at("2026-01-01T15:00:00Z")));
}

const ZONES: [&str; 11] = [
    "Asia/Tokyo",
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "America/Sao_Paulo",
    "Australia/Lord_Howe",
    "Africa/Casablanca",
    "Pacific/Apia",
    "Asia/Kathmandu",
    "America/St_Johns",
    "Antarctica/Troll",
];

prop_compose! {
    fn any_window()(
        zone in proptest::sample::select(&ZONES), week in proptest::sample::subsequence(&WEEK, 0..=7),
        days in proptest::collection::vec(0..2200_i64, 0..3), (hour, minute) in (0..24_i8, 0..60_i8),
        length in 1..10_080_u32
    ) -> MaintenanceWindow {
        let dates: Vec<Date> = days.iter().map(|n| date(2024, 1, 1).checked_add(n.days()).unwrap()).collect();
        window(&week, &dates, time(hour, minute, 0, 0), MINUTE * length, zone)
    }
}

/// Clock changes in New York and in Berlin.
const SETTINGS: [&str; 4] =
    ["2026-03-08T07:00:00Z", "2026-03-29T01:00:00Z", "2026-10-25T01:00:00Z", "2026-11-01T06:00:00Z"];

fn any_time() -> impl Strategy<Value = Timestamp> {
    let any = (1_704_067_200..1_900_000_000_i64).prop_map(|second| Timestamp::from_second(second).unwrap());
    let near = (proptest::sample::select(&SETTINGS), -100_000..100_000_i64)
        .prop_map(|(setting, off)| at(setting) + SignedDuration::from_secs(off));
    prop_oneof![any, near]
}

/// When the clock of the window's zone shows its start on `day`, found by trying the offsets around it.
fn clock_shows(window: &MaintenanceWindow, day: Date) -> Timestamp {
    let local = day.to_datetime(window.start);
    let naive = local.to_zoned(jiff::tz::TimeZone::UTC).unwrap().timestamp();
    let rules = window.zone.rules();
    let offset = |t: Timestamp| SignedDuration::from_secs(rules.to_offset(t).seconds().into());
    let around = (-48..=48).map(|hours| offset(naive + SignedDuration::from_hours(hours)));
    let shown: Vec<Timestamp> = around.map(|o| naive - o).filter(|t| *t + offset(*t) == naive).collect();
    // In a gap the clock never shows it: the offset before the gap counts.
    shown.into_iter().min().unwrap_or_else(|| naive - offset(naive - SignedDuration::from_hours(28)))
}

proptest! {
    #[test]
    fn a_window_is_open_for_its_length_after_the_clock_shows_its_start(window in any_window(), now in any_time()) {
        let today = now.to_zoned(window.zone.rules().clone()).date();
        let days = (-10..=2).map(|n: i64| today.checked_add(n.days()).unwrap()).filter(|day| window.opens_on(*day));
        let is_open = days.map(|day| clock_shows(&window, day)).any(|from| from <= now && now < from + window.length);
        prop_assert_eq!(open(std::slice::from_ref(&window), now).is_some(), is_open);
    }

    #[test]
    fn the_start_of_an_update_fits_the_windows(
        windows in proptest::collection::vec(any_window(), 1..4), now in any_time(), needs in 0..600_u32,
        latest in proptest::option::of(0.0..=1.0_f64), within in 0.0..1.0_f64
    ) {
        let needs = MINUTE * needs;
        let windows: Vec<MaintenanceWindow> = windows
            .into_iter()
            .map(|w| MaintenanceWindow { latest_start: latest.map(|part| w.length.mul_f64(part)), ..w })
            .collect();
        let between = |end: Timestamp| now + now.duration_until(end).mul_f64(within);
        match begin(&windows, now, needs) {
            Begin::Now(until) => {
                let until = until.unwrap();
                prop_assert!(latest.is_some() || now + needs <= until);
                prop_assert!(open(&windows, now).unwrap().until >= until && open(&windows, between(until)).is_some());
            }
            Begin::At(next) => {
                prop_assert!(next > now);
                prop_assert!(matches!(begin(&windows, next, needs), Begin::Now(_)));
                prop_assert_eq!(begin(&windows, between(next).min(next - Duration::from_nanos(1)), needs), Begin::At(next));
            }
            Begin::Never => {
                let later = now + SignedDuration::from_hours(24 * 365 * 6).mul_f64(within);
                prop_assert_eq!(begin(&windows, later, needs), Begin::Never);
            }
        }
    }

    #[test]
    fn the_next_opening_is_the_earliest_one(window in any_window(), now in any_time()) {
        let windows = std::slice::from_ref(&window);
        let days = (-1..=2300).map(|n: i64| now.to_zoned(window.zone.rules().clone()).date().checked_add(n.days()).unwrap());
        let days = days.filter(|day| window.opens_on(*day)).take(20);
        let first = days.map(|day| clock_shows(&window, day)).filter(|from| *from > now).min();
        prop_assert_eq!(next(windows, now).map(|o| o.from), first);
    }
}

//! `[[update.window]]`: a maintenance window, in which the machine may reboot for an update.

use std::time::Duration;

use abide_core::config::duration::format;
use abide_core::config::form::{Optional, Span, Text, Word, Words};
use abide_core::config::section::{Form, Section};
use abide_core::config::tree::{Node, Value};
use abide_core::error::{Error, Result};
use jiff::civil::{Date, Time, Weekday};

use crate::config::described::DescribedForm;
use crate::config::forms::{Limit, List, OptionalList};
use crate::config::table::settings;
use crate::config::update::zone::Zone;

/// The longest window; a longer one would be open all the time.
const LONGEST: Duration = Duration::from_secs(7 * 24 * 60 * 60);

settings! {
    /// A maintenance window: it opens at `start` by the clock of its zone, on each of its days.
    #[derive(Debug, Clone, PartialEq)]
    pub struct MaintenanceWindow checked by is_possible {
        /// The name that configuration fragments use to change this window.
        pub name: Optional<Text> = None, example "night";
        /// Single dates on which it opens, in addition to the `days`.
        pub dates: OptionalList<DateOfYear> = vec![], example ["2026-12-24"];
        /// The days of the week on which it opens.
        pub days: Optional<List<Word<Day>>> = dates.is_empty().then(every_day),
            otherwise "every day, or none if there are `dates`", example ["sat", "sun"];
        /// When it opens, by the clock of its time zone.
        // A time that the clock skips that day is taken as the same time after the clock's last setting (02:30
        // becomes 03:30), one that comes twice as the first.
        pub start: TimeOfDay, example "02:00";
        /// How long it is open. A week at most.
        pub length: Limit, example "3h";
        /// How long after the window opens an update may still start in it.
        pub latest_start: Optional<Span> = None,
            otherwise "as long as the test window of `[assess]` still fits", example "1h";
        /// The time zone: a name of the IANA database, such as `"Europe/Berlin"`.
        pub zone as "time_zone": Zone = Zone::utc();
    }
}

/// A day of the week.
#[derive(Debug)]
pub struct Day;

impl Words for Day {
    type Value = Weekday;
    const WORDS: &'static [(&'static str, Weekday)] = &[
        ("mon", Weekday::Monday),
        ("tue", Weekday::Tuesday),
        ("wed", Weekday::Wednesday),
        ("thu", Weekday::Thursday),
        ("fri", Weekday::Friday),
        ("sat", Weekday::Saturday),
        ("sun", Weekday::Sunday),
    ];
}

/// `2026-12-24`
#[derive(Debug)]
pub struct DateOfYear;

impl Form for DateOfYear {
    type Value = Date;

    fn read(section: &Section<'_>, key: &str, node: &Node) -> Result<Date> {
        let text = Text::read(section, key, node)?;
        text.parse().map_err(|_| is_not(node, key, &text, "a date such as \"2026-12-24\""))
    }
}

impl DescribedForm for DateOfYear {
    fn write(value: &Date) -> Option<Value> {
        Some(Value::Text(value.to_string()))
    }

    fn described() -> String {
        "date".into()
    }
}

/// `02:00`
#[derive(Debug)]
pub struct TimeOfDay;

impl Form for TimeOfDay {
    type Value = Time;

    fn read(section: &Section<'_>, key: &str, node: &Node) -> Result<Time> {
        let text = Text::read(section, key, node)?;
        text.parse().map_err(|_| is_not(node, key, &text, "a time of day such as \"02:00\""))
    }
}

impl DescribedForm for TimeOfDay {
    fn write(value: &Time) -> Option<Value> {
        Some(Value::Text(value.to_string()))
    }

    fn described() -> String {
        "time of day".into()
    }
}

impl Form for Zone {
    type Value = Self;

    fn read(section: &Section<'_>, key: &str, node: &Node) -> Result<Self> {
        let name = Text::read(section, key, node)?;
        Self::find(&name)
            .ok_or_else(|| is_not(node, key, &name, "a time zone such as \"Europe/Berlin\" or \"UTC\""))
    }
}

impl DescribedForm for Zone {
    fn write(value: &Self) -> Option<Value> {
        Some(Value::Text(value.name().to_owned()))
    }

    fn described() -> String {
        "time zone".into()
    }
}

fn is_not(node: &Node, key: &str, text: &str, expected: &str) -> Error {
    Error::Usage(format!("{}: {key}: '{text}' is not {expected}", node.origin))
}

fn every_day() -> Vec<Weekday> {
    Day::WORDS.iter().map(|(_, day)| *day).collect()
}

impl MaintenanceWindow {
    /// A window without `latest_start`, for tests and simulations: on these days of the week, and on these dates.
    #[must_use]
    pub fn new(week: Vec<Weekday>, dates: Vec<Date>, start: Time, length: Duration, zone: Zone) -> Self {
        Self { name: None, dates, days: Some(week), start, length, latest_start: None, zone }
    }

    /// Whether it opens on `date`.
    #[must_use]
    pub fn opens_on(&self, date: Date) -> bool {
        self.days.iter().flatten().any(|day| *day == date.weekday()) || self.dates.contains(&date)
    }

    fn is_possible(&self, section: &Section<'_>) -> Result<()> {
        if self.length > LONGEST {
            return Err(section.error_at("length", "must be a week at most"));
        }
        if self.latest_start.is_some_and(|latest| latest > self.length) {
            return Err(section.error_at("latest_start", "must not be longer than the window"));
        }
        Ok(())
    }

    /// Refuses a window in which no update would ever start; `section` is the one that it was read from, `trial` how
    /// long a trial takes at least.
    pub(super) fn has_room(&self, section: &Section<'_>, trial: Duration) -> Result<()> {
        if self.latest_start.is_some() || self.length >= trial {
            return Ok(());
        }
        let problem = format!(
            "no update would ever start: a trial alone takes {} ([assess] test_window); make the window longer, or \
             set latest_start",
            format(trial)
        );
        Err(section.error_at("length", &problem))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use jiff::civil::{date, time};

    use abide_core::error::Result;

    use super::*;
    use crate::config::Config;

    const HOUR: Duration = Duration::from_secs(60 * 60);

    fn windows(text: &str) -> Result<Vec<MaintenanceWindow>> {
        Config::parse("f", &format!("[[update.window]]\n{text}\n")).map(|config| config.update.windows)
    }

    #[test]
    fn every_key_is_read() {
        let text = "name = 'night'\ndays = ['sat', 'sun']\ndates = '2026-12-24'\nstart = '22:30'\nlength = '5h'\n\
                    latest_start = '3h'\ntime_zone = 'Europe/Berlin'";
        let windows = windows(text).unwrap();
        let [window] = windows.as_slice() else { return assert_eq!(windows.len(), 1) };
        let (berlin, days) = (Zone::find("Europe/Berlin").unwrap(), vec![Weekday::Saturday, Weekday::Sunday]);
        let expected =
            MaintenanceWindow::new(days, vec![date(2026, 12, 24)], time(22, 30, 0, 0), 5 * HOUR, berlin);
        let expected =
            MaintenanceWindow { name: Some("night".into()), latest_start: Some(3 * HOUR), ..expected };
        assert_eq!(*window, expected);
    }

    #[test]
    fn without_days_it_opens_every_day_and_with_dates_alone_only_then() {
        let daily = windows("start = 02:00:00\nlength = '1h'").unwrap();
        assert!(daily.iter().all(|w| w.opens_on(date(2026, 7, 1)) && w.zone == Zone::utc()));
        let once = windows("start = '02:00'\nlength = '1h'\ndates = [2026-12-24]").unwrap();
        assert!(once.iter().all(|w| w.opens_on(date(2026, 12, 24)) && !w.opens_on(date(2026, 12, 25))));
    }

    #[test]
    fn invalid_settings_are_refused_with_their_line() {
        let good = "start = '02:00'\nlength = '1h'\n";
        for (text, problem) in [
            ("start = '02:00'".to_owned(), "f:1: [[update.window]]: needs length"),
            ("length = '2h'".to_owned(), "f:1: [[update.window]]: needs start"),
            ("start = '25:00'\nlength = '2h'".to_owned(), "f:2: start: '25:00' is not a time of day"),
            ("start = '02:00'\nlength = '8d'".to_owned(), "f:3: length: must be a week at most"),
            (format!("{good}latest_start = '2h'"), "f:4: latest_start: must not be longer than the window"),
            (format!("{good}days = ['mo']"), "f:4: days: 'mo' is not known; did you mean 'mon'?"),
            (format!("{good}dates = ['2026-02-30']"), "f:4: dates: '2026-02-30' is not a date"),
            (format!("{good}time_zone = 'Europe/Bern'"), "f:4: time_zone: 'Europe/Bern' is not a time zone"),
            (
                "start = '02:00'\nlength = '5min'".to_owned(),
                "f:3: length: no update would ever start: a trial alone takes 10min",
            ),
        ] {
            let said = windows(&text).unwrap_err().to_string();
            assert!(said.starts_with(problem), "{said}");
        }
        assert!(windows("start = '02:00'\nlength = '5min'\nlatest_start = '1min'").is_ok());
    }
}

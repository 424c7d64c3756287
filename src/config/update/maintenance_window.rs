//! `[[update.window]]`: a span of time in which the machine may be rebooted.

use std::time::Duration;

use jiff::civil::{Date, Time, Weekday};

use crate::config::update::zone::Zone;
use abide_core::config::duration::format;
use abide_core::config::section::Section;
use abide_core::error::Result;

/// The longest window; after that it is open all the time.
const LONGEST: Duration = Duration::from_secs(7 * 24 * 60 * 60);

const DAYS: [(&str, Weekday); 7] = [
    ("mon", Weekday::Monday),
    ("tue", Weekday::Tuesday),
    ("wed", Weekday::Wednesday),
    ("thu", Weekday::Thursday),
    ("fri", Weekday::Friday),
    ("sat", Weekday::Saturday),
    ("sun", Weekday::Sunday),
];

/// A window: it opens at `start` by the clock of its zone, on each of its days.
#[derive(Debug, Clone, PartialEq)]
pub struct MaintenanceWindow {
    /// How fragments of the configuration call it.
    pub name: Option<String>,
    /// The days on which it opens.
    pub days: Days,
    /// When it opens, by the clock of the zone. A time that the clock skips that day is taken as the
    /// same time after the clock's last setting (02:30 becomes 03:30), one that comes twice as the first.
    pub start: Time,
    /// How long it is open, whatever the clock does meanwhile; more than 0, a week at most.
    pub length: Duration,
    /// How long after its opening an update may last be begun in it; none: while what is needed still fits.
    pub latest_start: Option<Duration>,
    /// Whose clock counts.
    pub zone: Zone,
}

/// The days on which a window opens: those of the week, and single ones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Days {
    week: Vec<Weekday>,
    dates: Vec<Date>,
}

impl Days {
    /// Whether a window opens on `date`.
    #[must_use]
    pub fn has(&self, date: Date) -> bool {
        self.week.contains(&date.weekday()) || self.dates.contains(&date)
    }

    /// The single days.
    #[must_use]
    pub fn dates(&self) -> &[Date] {
        &self.dates
    }
}

impl MaintenanceWindow {
    /// A window without `latest_start`, for tests and simulations; `week` and `dates` as in [`Days`].
    #[must_use]
    pub fn new(week: Vec<Weekday>, dates: Vec<Date>, start: Time, length: Duration, zone: Zone) -> Self {
        let days = Days { week, dates };
        Self { name: None, days, start, length, latest_start: None, zone }
    }

    /// `trial`: how long a trial takes at least.
    pub(super) fn read(section: &mut Section<'_>, trial: Duration) -> Result<Self> {
        let name = section.text("name")?;
        let week = section.words("days", &DAYS)?;
        let dates = dates(section)?;
        // Only single days, where only these are given.
        let every_day = if dates.is_empty() { DAYS.map(|(_, day)| day).to_vec() } else { vec![] };
        let length = section.duration("length")?.ok_or_else(|| section.error("needs length = \"2h\""))?;
        if length.is_zero() || length > LONGEST {
            return Err(section.error_at("length", "must be more than 0, and a week at most"));
        }
        let latest_start = section.duration("latest_start")?;
        if latest_start.is_some_and(|latest| latest > length) {
            return Err(section.error_at("latest_start", "must not be longer than the window"));
        }
        if latest_start.is_none() && length < trial {
            let problem = format!(
                "no update would ever be begun: a trial alone takes {} ([assess] test_window); make the window \
                 longer, or set latest_start",
                format(trial)
            );
            return Err(section.error_at("length", &problem));
        }
        Ok(Self {
            name,
            days: Days { week: week.unwrap_or(every_day), dates },
            start: start(section)?,
            length,
            latest_start,
            zone: zone(section)?,
        })
    }
}

fn dates(section: &mut Section<'_>) -> Result<Vec<Date>> {
    let texts = section.texts("dates")?.unwrap_or_default();
    let date = |text: &String| {
        let problem = || format!("'{text}' is no day such as \"2026-12-24\"");
        text.parse().map_err(|_| section.error_at("dates", &problem()))
    };
    texts.iter().map(date).collect()
}

fn start(section: &mut Section<'_>) -> Result<Time> {
    let text = section.text("start")?.ok_or_else(|| section.error("needs start = \"02:00\""))?;
    text.parse()
        .map_err(|_| section.error_at("start", &format!("'{text}' is no time of day such as \"02:00\"")))
}

fn zone(section: &mut Section<'_>) -> Result<Zone> {
    let Some(name) = section.text("time_zone")? else { return Ok(Zone::utc()) };
    Zone::find(&name).ok_or_else(|| {
        section
            .error_at("time_zone", &format!("'{name}' is no time zone such as \"Europe/Berlin\" or \"UTC\""))
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use jiff::civil::{date, time};

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
        assert!(daily.iter().all(|w| w.days.has(date(2026, 7, 1)) && w.zone == Zone::utc()));
        let once = windows("start = '02:00'\nlength = '1h'\ndates = [2026-12-24]").unwrap();
        assert!(once.iter().all(|w| w.days.has(date(2026, 12, 24)) && !w.days.has(date(2026, 12, 25))));
    }

    #[test]
    fn what_cannot_be_meant_is_refused_with_its_line() {
        let good = "start = '02:00'\nlength = '1h'\n";
        for (text, problem) in [
            ("start = '02:00'".to_owned(), "f:1: [[update.window]]: needs length"),
            ("length = '2h'".to_owned(), "f:1: [[update.window]]: needs start"),
            ("start = '25:00'\nlength = '2h'".to_owned(), "f:2: start: '25:00' is no time of day"),
            (
                "start = '02:00'\nlength = '8d'".to_owned(),
                "f:3: length: must be more than 0, and a week at most",
            ),
            (format!("{good}latest_start = '2h'"), "f:4: latest_start: must not be longer than the window"),
            (format!("{good}days = ['mo']"), "f:4: days: 'mo' is not known; did you mean 'mon'?"),
            (format!("{good}dates = ['2026-02-30']"), "f:4: dates: '2026-02-30' is no day"),
            (format!("{good}time_zone = 'Europe/Bern'"), "f:4: time_zone: 'Europe/Bern' is no time zone"),
            (
                "start = '02:00'\nlength = '5min'".to_owned(),
                "f:3: length: no update would ever be begun: a trial alone takes 10min",
            ),
        ] {
            let said = windows(&text).unwrap_err().to_string();
            assert!(said.starts_with(problem), "{said}");
        }
        assert!(windows("start = '02:00'\nlength = '5min'\nlatest_start = '1min'").is_ok());
    }
}

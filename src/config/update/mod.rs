//! `[update]`: what a machine follows by itself, and when.

pub mod fleetlock;
pub mod hawkbit;
pub mod maintenance_window;
pub mod zone;

use std::time::Duration;

pub use fleetlock::{FleetLock, IfAway};
pub use hawkbit::{Confirm, Forced, HawkBit, Token};
pub use maintenance_window::{Days, MaintenanceWindow};
pub use zone::Zone;

use abide_core::config::assess::Assess;
use abide_core::config::duration;
use abide_core::config::section::Section;
use abide_core::error::Result;
use abide_core::root::Root;

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(60 * 60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// What is followed, and by which rules.
#[derive(Debug, Clone, PartialEq)]
pub struct Update {
    /// The folder that is followed: a path, or the URL of one; none: no feed.
    pub feed: Option<String>,
    /// From one look at the feed to the next; at least a minute.
    pub interval: Duration,
    /// Over how much of the interval the looks of all machines are spread, each at its own moment;
    /// not more than the interval.
    pub jitter: Duration,
    /// Which version is wanted.
    pub target: Target,
    /// Releases for other channels only are passed over.
    pub channel: String,
    /// Older releases are never taken.
    pub min_version: Option<String>,
    /// Below this version no downgrade goes, targeted or not.
    pub floor: Option<String>,
    /// Whether an image that failed is tried again.
    pub retry_failed: Option<RetryFailed>,
    /// Over how long the downloads of all machines are spread once a release is found; less where
    /// a window opens before that.
    pub download_spread: Duration,
    /// Bytes per second at most while it downloads by itself; none: as `[download]` says.
    pub rate_limit: Option<u64>,
    /// How what runs on the machine may hold off the reboot.
    pub inhibit: Inhibit,
    /// `[[update.window]]`: when the machine may be rebooted; none: always.
    pub windows: Vec<MaintenanceWindow>,
    /// `[update.hawkbit]`: the server that decides instead of a feed.
    pub hawkbit: Option<HawkBit>,
    /// `[update.fleetlock]`: the server where machines queue for their reboot.
    pub fleetlock: Option<FleetLock>,
}

/// The version that is wanted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Target {
    /// The newest that this machine may have.
    #[default]
    Latest,
    /// This one, be it older or newer than what runs.
    Version(String),
}

/// How long an image that failed is left alone. The time doubles with every failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryFailed {
    /// After the first failure.
    pub first: Duration,
    /// After any; at least `first`.
    pub most: Duration,
}

/// What may hold off the reboot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inhibit {
    /// Whether systemd's inhibitor locks (`shutdown`, mode `block`) do.
    pub systemd: bool,
    /// Files that do while they are there.
    pub files: Vec<String>,
    /// Files that do while a running program holds a lock on them.
    pub locks: Vec<String>,
    /// After holding off for this long they are not asked any more.
    pub longest: Duration,
}

impl Default for Inhibit {
    fn default() -> Self {
        Self { systemd: true, files: vec![], locks: vec![], longest: 7 * DAY }
    }
}

impl Default for Update {
    fn default() -> Self {
        Self {
            feed: None,
            interval: HOUR,
            jitter: HOUR,
            target: Target::Latest,
            channel: "stable".into(),
            min_version: None,
            floor: None,
            retry_failed: None,
            download_spread: HOUR,
            rate_limit: None,
            inhibit: Inhibit::default(),
            windows: vec![],
            hawkbit: None,
            fleetlock: None,
        }
    }
}

impl Update {
    /// `assess` tells how long a trial takes, for which each window must have room.
    pub(super) fn read(section: &mut Section<'_>, assess: &Assess) -> Result<Self> {
        let default = Self::default();
        let interval = section.duration("interval")?.unwrap_or(default.interval);
        let update = Self {
            feed: section.text("feed")?,
            interval,
            jitter: section.duration("jitter")?.unwrap_or(interval),
            target: match section.text("target")?.as_deref() {
                None | Some("latest") => Target::Latest,
                Some(version) => Target::Version(version.to_owned()),
            },
            channel: section.text("channel")?.unwrap_or(default.channel),
            min_version: section.text("min_version")?,
            floor: section.text("floor")?,
            retry_failed: RetryFailed::read(section)?,
            download_spread: section.duration("download_spread")?.unwrap_or(default.download_spread),
            rate_limit: section.size("rate_limit")?,
            inhibit: section.table("inhibit", Inhibit::read)?,
            windows: section
                .tables("window", |window| MaintenanceWindow::read(window, assess.test_window))?,
            hawkbit: section.optional_table("hawkbit", HawkBit::read)?,
            fleetlock: section.optional_table("fleetlock", FleetLock::read)?,
        };
        update.judge(section)?;
        Ok(update)
    }

    /// What cannot be meant.
    fn judge(&self, section: &Section<'_>) -> Result<()> {
        let is_folder = |feed: &str| ["/", "http://", "https://"].iter().any(|start| feed.starts_with(start));
        if self.feed.as_deref().is_some_and(|feed| !is_folder(feed)) {
            return Err(
                section.error_at("feed", "must be an absolute path, or begin with http:// or https://")
            );
        }
        if self.interval < MINUTE {
            return Err(section.error_at("interval", "must be at least 1min"));
        }
        if self.jitter > self.interval {
            let interval = duration::format(self.interval);
            return Err(
                section.error_at("jitter", &format!("must not be longer than the interval ({interval})"))
            );
        }
        if self.rate_limit == Some(0) {
            return Err(
                section.error_at("rate_limit", "nothing would ever arrive; leave it out for no limit")
            );
        }
        for key in ["target", "channel", "min_version", "floor"] {
            section.not_empty(key)?;
        }
        if self.feed.is_some() && self.hawkbit.is_some() {
            return Err(
                section.error_at("feed", "[update.hawkbit] is configured, too; only one of them can decide")
            );
        }
        Ok(())
    }

    /// Takes the rules of the time zones from the system below `root` where it has them: they may be newer
    /// than those that are built in.
    pub(super) fn use_zoneinfo(&mut self, root: &Root) {
        for window in &mut self.windows {
            window.zone.use_zoneinfo(root);
        }
    }
}

impl Update {
    /// Where updates come from: the server that orders them, or the folder that is followed.
    #[must_use]
    pub fn source(&self) -> Option<&str> {
        self.hawkbit.as_ref().map(|hawkbit| hawkbit.url.as_str()).or(self.feed.as_deref())
    }
}

impl RetryFailed {
    fn read(section: &mut Section<'_>) -> Result<Option<Self>> {
        let never = section.is_text("retry_failed", "never");
        let first = match never {
            true => section.text("retry_failed")?.and(None),
            false => section.duration("retry_failed")?,
        };
        let most = section.duration("retry_failed_max")?.unwrap_or(14 * DAY);
        let Some(first) = first else { return Ok(None) };
        if first < MINUTE {
            return Err(section.error_at("retry_failed", "must be at least 1min, or \"never\""));
        }
        Ok(Some(Self { first, most: most.max(first) }))
    }
}

impl Inhibit {
    fn read(section: &mut Section<'_>) -> Result<Self> {
        let default = Self::default();
        Ok(Self {
            systemd: section.flag("systemd")?.unwrap_or(default.systemd),
            files: section.paths("files")?.unwrap_or_default(),
            locks: section.paths("locks")?.unwrap_or_default(),
            longest: section.duration("longest")?.unwrap_or(default.longest),
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::config::Config;

    fn update(text: &str) -> Update {
        Config::parse("f", text).unwrap().update
    }

    fn error(text: &str) -> String {
        Config::parse("f", text).unwrap_err().to_string()
    }

    #[test]
    fn every_key_is_read() {
        let text = "[update]\nfeed = 'https://images.example/edge'\ninterval = '4h'\njitter = '30min'\n\
                    target = '1.2.3'\nchannel = 'beta'\nmin_version = '1.1'\nfloor = '1.0'\nretry_failed = '8h'\n\
                    retry_failed_max = '1w'\ndownload_spread = '2h'\nrate_limit = '1M'\n[update.inhibit]\n\
                    systemd = false\nfiles = ['/run/busy']\nlocks = '/run/job.lock'\nlongest = '3d'\n";
        assert_eq!(
            update(text),
            Update {
                feed: Some("https://images.example/edge".into()),
                interval: 4 * HOUR,
                jitter: HOUR / 2,
                target: Target::Version("1.2.3".into()),
                channel: "beta".into(),
                min_version: Some("1.1".into()),
                floor: Some("1.0".into()),
                retry_failed: Some(RetryFailed { first: 8 * HOUR, most: 7 * DAY }),
                download_spread: 2 * HOUR,
                rate_limit: Some(1 << 20),
                inhibit: Inhibit {
                    systemd: false,
                    files: vec!["/run/busy".into()],
                    locks: vec!["/run/job.lock".into()],
                    longest: 3 * DAY,
                },
                ..Update::default()
            }
        );
    }

    #[test]
    fn the_jitter_is_the_whole_interval_unless_it_is_said() {
        assert_eq!(update("[update]\ninterval = '10min'\n").jitter, 10 * MINUTE);
    }

    #[test]
    fn what_cannot_be_meant_is_refused_with_its_line() {
        for (text, problem) in [
            ("feed = 'images.example/edge'", "f:2: feed: must be an absolute path"),
            ("interval = '5s'", "f:2: interval: must be at least 1min"),
            ("jitter = '2h'", "f:2: jitter: must not be longer than the interval (1h)"),
            ("target = ''", "f:2: target: must not be empty"),
            ("rate_limit = 0", "f:2: rate_limit: nothing would ever arrive"),
            ("retry_failed = '1s'", "f:2: retry_failed: must be at least 1min"),
            ("inhibit = { files = 'run/busy' }", "f:2: files: 'run/busy' is not an absolute path"),
            ("feed = '/srv'\nhawkbit = { url = 'https://h' }", "f:2: feed: [update.hawkbit] is configured"),
            ("chanel = 'beta'", "f:2: unknown key 'chanel' in [update]; did you mean 'channel'?"),
            (
                "[update.inhibit]\nlongst = '1d'",
                "f:3: unknown key 'longst' in [update.inhibit]; did you mean 'longest'?",
            ),
            (
                "[[update.window]]\nday = 'mon'\nstart = '02:00'\nlength = '1h'",
                "f:3: unknown key 'day' in [[update.window]]; did you mean 'days'?",
            ),
            (
                "[update.hawkbit]\nurl = 'https://h'\ntennant = 'x'",
                "f:4: unknown key 'tennant' in [update.hawkbit]; did you mean 'tenant'?",
            ),
        ] {
            let said = error(&format!("[update]\n{text}\n"));
            assert!(said.starts_with(problem), "{said}");
        }
    }

    #[test]
    fn failed_images_are_tried_again_only_where_that_is_said() {
        assert_eq!(update("[update]\nretry_failed = 'never'\n").retry_failed, None);
        let retry = update("[update]\nretry_failed = '8h'\n").retry_failed;
        assert_eq!(retry, Some(RetryFailed { first: 8 * HOUR, most: 14 * DAY }));
        let retry = update("[update]\nretry_failed = '3w'\n").retry_failed;
        assert_eq!(retry, Some(RetryFailed { first: 21 * DAY, most: 21 * DAY }));
    }
}

//! `[update]`: which updates a machine installs by itself, and when.

pub mod fleetlock;
pub mod hawkbit;
pub mod maintenance_window;
pub mod zone;

use std::time::Duration;

pub use fleetlock::{FleetLock, IfAway};
pub use hawkbit::{ConfirmBy, Forced, HawkBit, Token};
pub use maintenance_window::MaintenanceWindow;
pub use zone::Zone;

use abide_core::config::assess::Assess;
use abide_core::config::duration;
use abide_core::config::form::{Flag, Optional, Span, Sub};
use abide_core::config::section::{Form, Section};
use abide_core::config::tree::{Node, Tree, Value};
use abide_core::error::Result;
use abide_core::root::Root;

use crate::config::described::DescribedForm;
use crate::config::forms::{AbsolutePath, Folder, List, NotEmpty, Rate, Tables};
use crate::config::table::settings;

const HOUR: Duration = Duration::from_secs(60 * 60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

settings! {
    /// Which updates the machine installs by itself, and when.
    #[derive(Debug, Clone, PartialEq)]
    pub struct Update checked by is_possible {
        /// The feed: the path or the URL of a folder of images.
        pub feed: Optional<Folder> = None, otherwise "no feed", example "https://images.example/edge";
        /// The name that the feed must have in its `feed.toml`. Another feed is refused, even if it is signed.
        pub feed_name: Optional<NotEmpty> = None, example "edge";
        /// A file with what authenticates the machine to the feed: one line, `USER:PASSWORD` or a token (`Bearer`),
        /// readable by its owner only.
        pub feed_auth: Optional<AbsolutePath> = None, example "/etc/abide/feed.auth";
        /// How often to poll the feed.
        pub interval: Span<60_000> = HOUR;
        /// The part of the interval over which the polls of all machines are spread, each at its own moment. `0`: all
        /// machines poll at the beginning of the interval. Not longer than the interval.
        pub jitter: Span = interval, otherwise "the interval", example "1h";
        /// The version to install, newer or older than the running one. `"latest"`: the newest that the policy allows.
        pub target: TargetVersion = Target::Latest;
        /// The channel of this machine. Releases for other channels only are skipped.
        pub channel: NotEmpty = "stable".into();
        /// The lowest version that an update may install.
        pub min_version: Optional<NotEmpty> = None, example "1.0";
        /// The lowest version that a downgrade may install. A downgrade to an older `target` is refused.
        pub floor: Optional<NotEmpty> = None, example "1.0";
        /// How long after a failure the same image is tried again. The delay doubles with each failure.
        pub retry_failed: RetryDelay = None;
        /// The upper bound of the retry delay.
        pub retry_failed_max: Span = 14 * DAY;
        /// The time over which the downloads of all machines are spread after they have found a release. It is
        /// shorter if a window opens before that.
        pub download_spread: Span = HOUR;
        /// How many bytes per second an automatic download may take.
        pub rate_limit: Optional<Rate> = None, otherwise "that of `[download]`", example "1M";
        /// What inhibits the reboot.
        pub inhibit: Sub<Inhibit> = Inhibit::default();
        /// When the machine may reboot for an update; without a window, at any time.
        pub windows as "window": Tables<MaintenanceWindow> = vec![];
        /// An Eclipse hawkBit server that decides what is installed, instead of a feed.
        pub hawkbit: Optional<Sub<HawkBit>> = None;
        /// A FleetLock server that limits how many machines reboot at a time.
        pub fleetlock: Optional<Sub<FleetLock>> = None;
    }
}

settings! {
    /// What inhibits the reboot.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct Inhibit {
        /// Whether systemd's inhibitor locks inhibit the reboot (`systemd-inhibit --what=shutdown --mode=block`).
        pub systemd: Flag = true;
        /// Files that inhibit the reboot while they exist.
        pub files: List<AbsolutePath> = vec![];
        /// Files that inhibit the reboot while a process holds a lock on them (flock(1)).
        pub locks: List<AbsolutePath> = vec![];
        /// The longest time for which an update can be inhibited. After that it is installed anyway.
        pub longest: Span = 7 * DAY;
    }
}

/// The wanted version.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Target {
    /// The newest that the policy allows.
    #[default]
    Latest,
    /// This one, newer or older than the one that runs.
    Version(String),
}

/// A version, or `"latest"`.
#[derive(Debug)]
pub struct TargetVersion;

impl TargetVersion {
    const LATEST: &'static str = "latest";
}

impl Form for TargetVersion {
    type Value = Target;

    fn read(section: &Section<'_>, key: &str, node: &Node) -> Result<Target> {
        let version = NotEmpty::read(section, key, node)?;
        Ok(if version == Self::LATEST { Target::Latest } else { Target::Version(version) })
    }
}

impl DescribedForm for TargetVersion {
    fn write(value: &Target) -> Option<Value> {
        Some(Value::Text(match value {
            Target::Latest => Self::LATEST.into(),
            Target::Version(version) => version.clone(),
        }))
    }

    fn described() -> String {
        format!("`\"{}\"` or a version", Self::LATEST)
    }
}

/// A span of time, or `"never"`.
#[derive(Debug)]
pub struct RetryDelay;

impl RetryDelay {
    const NEVER: &'static str = "never";
}

impl Form for RetryDelay {
    type Value = Option<Duration>;

    fn read(section: &Section<'_>, key: &str, node: &Node) -> Result<Option<Duration>> {
        if node.value == Value::Text(Self::NEVER.into()) {
            return Ok(None);
        }
        Span::<60_000>::read(section, key, node).map(Some)
    }
}

impl DescribedForm for RetryDelay {
    fn write(value: &Option<Duration>) -> Option<Value> {
        value.map_or(Some(Value::Text(Self::NEVER.into())), |span| Span::<0>::write(&span))
    }

    fn described() -> String {
        format!("`\"{}\"` or {}", Self::NEVER, Span::<60_000>::described())
    }
}

/// How long an image that failed is not tried again. The time doubles with every failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryFailed {
    /// After the first failure.
    pub first: Duration,
    /// After any; at least `first`.
    pub most: Duration,
}

impl Update {
    fn is_possible(&self, section: &Section<'_>) -> Result<()> {
        if self.jitter > self.interval {
            let interval = duration::format(self.interval);
            return Err(
                section.error_at("jitter", &format!("must not be longer than the interval ({interval})"))
            );
        }
        if self.feed_auth.is_some() && !self.feed.as_deref().is_some_and(|feed| feed.contains("://")) {
            return Err(section.error_at("feed_auth", "needs a feed on a web server"));
        }
        if self.feed.is_some() && self.hawkbit.is_some() {
            return Err(section.error_at("feed", "[update.hawkbit] is configured, too; set only one of them"));
        }
        Ok(())
    }

    /// Checks that a trial fits into each window; `written` is what was read.
    pub(super) fn has_room(&self, written: &Tree, assess: &Assess) -> Result<()> {
        let update = written.table.get("update").map(|node| &node.value);
        let windows = if let Some(Value::Table(update)) = update { update.get("window") } else { None };
        let Some(Value::List(windows)) = windows.map(|node| &node.value) else { return Ok(()) };
        for (window, node) in self.windows.iter().zip(windows) {
            let section = Section::of(node, "[[update.window]]".into())?;
            window.has_room(&section, assess.test_window)?;
        }
        Ok(())
    }

    /// When an image that failed is tried again; `None`: never.
    #[must_use]
    pub fn retry(&self) -> Option<RetryFailed> {
        let first = self.retry_failed?;
        Some(RetryFailed { first, most: self.retry_failed_max.max(first) })
    }

    /// Takes the rules of the time zones from the system below `root` if it has them: they may be newer than the
    /// built-in ones.
    pub(super) fn use_zoneinfo(&mut self, root: &Root) {
        for window in &mut self.windows {
            window.zone.use_zoneinfo(root);
        }
    }

    /// Where updates come from: the server that decides, or the feed.
    #[must_use]
    pub fn source(&self) -> Option<&str> {
        self.hawkbit.as_ref().map(|hawkbit| hawkbit.url.as_str()).or(self.feed.as_deref())
    }

    /// The file with the token that authenticates the machine to its source.
    #[must_use]
    pub fn token_file(&self) -> Option<&str> {
        match &self.hawkbit {
            Some(hawkbit) => hawkbit.token().map(Token::file),
            None => self.feed_auth.as_deref(),
        }
    }

    /// Whether a server waits for the end of the update: the next machine may be waiting for the reboot lock.
    #[must_use]
    pub fn has_waiting_server(&self) -> bool {
        self.hawkbit.is_some() || self.fleetlock.is_some()
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
        let text = "[update]\nfeed = 'https://images.example/edge'\nfeed_auth = '/etc/feed.auth'\ninterval = '4h'\njitter = '30min'\n\
                    target = '1.2.3'\nchannel = 'beta'\nmin_version = '1.1'\nfloor = '1.0'\nretry_failed = '8h'\n\
                    retry_failed_max = '1w'\ndownload_spread = '2h'\nrate_limit = '1M'\n[update.inhibit]\n\
                    systemd = false\nfiles = ['/run/busy']\nlocks = '/run/job.lock'\nlongest = '3d'\n";
        assert_eq!(
            update(text),
            Update {
                feed: Some("https://images.example/edge".into()),
                feed_auth: Some("/etc/feed.auth".into()),
                interval: 4 * HOUR,
                jitter: HOUR / 2,
                target: Target::Version("1.2.3".into()),
                channel: "beta".into(),
                min_version: Some("1.1".into()),
                floor: Some("1.0".into()),
                retry_failed: Some(8 * HOUR),
                retry_failed_max: 7 * DAY,
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
    fn the_jitter_defaults_to_the_interval() {
        assert_eq!(update("[update]\ninterval = '10min'\n").jitter, HOUR / 6);
    }

    #[test]
    fn invalid_settings_are_refused_with_their_line() {
        for (text, problem) in [
            ("feed = 'images.example/edge'", "f:2: feed: must be an absolute path"),
            ("interval = '5s'", "f:2: interval: must be at least 1min"),
            ("jitter = '2h'", "f:2: jitter: must not be longer than the interval (1h)"),
            ("feed = '/srv'\nfeed_auth = '/f'", "f:3: feed_auth: needs a feed on a web server"),
            ("target = ''", "f:2: target: must not be empty"),
            ("rate_limit = 0", "f:2: rate_limit: must be more than 0"),
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
    fn failed_images_are_retried_only_if_configured() {
        assert_eq!(update("[update]\nretry_failed = 'never'\n").retry(), None);
        let retry = update("[update]\nretry_failed = '8h'\n").retry();
        assert_eq!(retry, Some(RetryFailed { first: 8 * HOUR, most: 14 * DAY }));
        let retry = update("[update]\nretry_failed = '3w'\n").retry();
        assert_eq!(retry, Some(RetryFailed { first: 21 * DAY, most: 21 * DAY }));
    }
}

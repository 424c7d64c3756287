//! `[[check]]`: what every health check has, whatever its kind.

use std::collections::BTreeSet;
use std::time::Duration;

use super::kinds::{CommandCheck, NetworkCheck, SystemCheck, UnitCheck};
use super::section::Section;
use crate::error::Result;

/// One health check.
#[derive(Debug, Clone, PartialEq)]
pub struct CheckConfig {
    /// How messages, records and later files call it; unique.
    pub name: String,
    /// Whether it decides; a check that does not is reported only.
    pub required: bool,
    /// How long one run may take. A command that takes longer has failed for good.
    pub timeout: Duration,
    /// How long after the start of one run the next one starts.
    pub interval: Duration,
    /// How long after the start of the assessment the first run starts.
    pub start_delay: Duration,
    /// How many failed runs in a row are overlooked.
    pub failures_allowed: u32,
    /// Decides only if it passed on the last committed boot.
    pub only_if_passed_before: bool,
    /// What is checked.
    pub kind: CheckKind,
}

/// The kinds of check, with what each is told.
#[derive(Debug, Clone, PartialEq)]
pub enum CheckKind {
    /// systemd has finished booting, and no unit failed that had not failed before.
    System(SystemCheck),
    /// Named units are active, or finished.
    Unit(UnitCheck),
    /// Interface, address, route, gateway, names and connections.
    Network(NetworkCheck),
    /// A program exits with status 0.
    Command(CommandCheck),
}

const SHORTEST_INTERVAL: Duration = Duration::from_millis(100);

impl CheckKind {
    /// The word in the configuration.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::System(_) => "system",
            Self::Unit(_) => "unit",
            Self::Network(_) => "network",
            Self::Command(_) => "command",
        }
    }

    fn default_timeout(&self) -> Duration {
        Duration::from_secs(match self {
            Self::Network(_) => 5,
            Self::System(_) | Self::Unit(_) => 10,
            Self::Command(_) => 30,
        })
    }
}

impl Default for CheckConfig {
    /// The one check that is made when none is configured.
    fn default() -> Self {
        Self::new("system", CheckKind::System(SystemCheck::default()))
    }
}

impl CheckConfig {
    /// A required check with every limit at its default.
    #[must_use]
    pub fn new(name: &str, kind: CheckKind) -> Self {
        Self {
            name: name.to_owned(),
            required: true,
            timeout: kind.default_timeout(),
            interval: Duration::from_secs(10),
            start_delay: Duration::ZERO,
            failures_allowed: 0,
            only_if_passed_before: false,
            kind,
        }
    }

    /// `None` for a check that is switched off by `enabled = false`.
    fn read(section: &mut Section<'_>) -> Result<Option<Self>> {
        let Some(name) = section.text("name")? else {
            return Err(section.error("has no name; each check needs one, for messages and records"));
        };
        if name.is_empty() || name.chars().any(char::is_control) {
            return Err(section.error_at("name", "must be a text that can be printed"));
        }
        let enabled = section.flag("enabled")?.unwrap_or(true);
        let kind = read_kind(section)?;
        let default = Self::new(&name, kind);
        let check = Self {
            required: section.flag("required")?.unwrap_or(default.required),
            timeout: section.duration("timeout")?.unwrap_or(default.timeout),
            interval: section.duration("interval")?.unwrap_or(default.interval),
            start_delay: section.duration("start_delay")?.unwrap_or(default.start_delay),
            failures_allowed: section.count("failures_allowed", 0..=1000)?.unwrap_or(0),
            only_if_passed_before: section.flag("only_if_passed_before")?.unwrap_or(false),
            ..default
        };
        if check.timeout.is_zero() {
            return Err(section.error_at("timeout", "must be longer than nothing"));
        }
        if check.interval < SHORTEST_INTERVAL {
            return Err(section.error_at("interval", "must be at least 100ms"));
        }
        Ok(enabled.then_some(check))
    }
}

#[derive(Clone, Copy)]
enum Word {
    System,
    Unit,
    Network,
    Command,
}

fn read_kind(section: &mut Section<'_>) -> Result<CheckKind> {
    let words = [
        ("system", Word::System),
        ("unit", Word::Unit),
        ("network", Word::Network),
        ("command", Word::Command),
    ];
    Ok(match section.word("kind", &words)? {
        Some(Word::System) => CheckKind::System(SystemCheck::read(section)?),
        Some(Word::Unit) => CheckKind::Unit(UnitCheck::read(section)?),
        Some(Word::Network) => CheckKind::Network(NetworkCheck::read(section)?),
        Some(Word::Command) => CheckKind::Command(CommandCheck::read(section)?),
        None => return Err(section.error("has no kind")),
    })
}

/// All `[[check]]` of the file, or the one that stands for none.
pub(super) fn read_all(top: &mut Section<'_>) -> Result<Vec<CheckConfig>> {
    let configured = top.has("check");
    let mut names = BTreeSet::new();
    let checks = top.tables("check", |section| {
        let check = CheckConfig::read(section)?;
        if let Some(check) = &check
            && !names.insert(check.name.clone())
        {
            return Err(section.error_at("name", "is the name of another check as well"));
        }
        Ok(check)
    })?;
    if !configured {
        return Ok(vec![CheckConfig::default()]);
    }
    Ok(checks.into_iter().flatten().collect())
}

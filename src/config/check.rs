//! `[[check]]`: what every health check has, whatever its kind.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::config::kinds::{
    ClockCheck, CommandCheck, ConfirmCheck, DiskCheck, FileCheck, HttpCheck, KernelCheck, MountCheck,
    NetworkCheck, ProcessCheck, SystemCheck, UnitCheck,
};
use abide_core::config::assess::Assess;
use abide_core::config::duration::format;
use abide_core::config::section::Section;
use abide_core::error::{Error, Result};

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
    /// Never runs at the same time as others of which this is said: they take turns, in their order.
    pub in_order: bool,
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
    /// A server gives the right answer.
    Http(HttpCheck),
    /// A process runs.
    Process(ProcessCheck),
    /// A file is as it should be.
    File(FileCheck),
    /// A file system is mounted.
    Mount(MountCheck),
    /// A file system has room and can be written.
    Disk(DiskCheck),
    /// The kernel has not crashed, and nothing has locked up.
    Kernel(KernelCheck),
    /// The clock is synchronised.
    Clock(ClockCheck),
    /// Somebody says that all is well.
    Confirm(ConfirmCheck),
}

/// More often than this nothing is checked.
pub(super) const SHORTEST_INTERVAL: Duration = Duration::from_millis(100);

impl CheckKind {
    fn default_timeout(&self) -> Duration {
        Duration::from_secs(match self {
            Self::Network(_) => 5,
            Self::Command(_) => 30,
            _ => 10,
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
            in_order: false,
            kind,
        }
    }

    /// Refuses what could never pass before the deadline.
    pub(super) fn fits(&self, assess: &Assess) -> Result<()> {
        let wait = match &self.kind {
            CheckKind::Confirm(ConfirmCheck { wait: Some(wait), .. }) => *wait,
            _ => Duration::ZERO,
        };
        match self.required && self.start_delay + wait >= assess.deadline {
            true => Err(Error::Usage(std::format!(
                "configuration: check '{}': waits until the deadline of {} or longer",
                self.name,
                format(assess.deadline)
            ))),
            false => Ok(()),
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

/// Reads the keys of one kind.
type Read = fn(&mut Section<'_>) -> Result<CheckKind>;

/// The kinds, by the word in the configuration.
const KINDS: [(&str, Read); 12] = [
    ("system", |s| SystemCheck::read(s).map(CheckKind::System)),
    ("unit", |s| UnitCheck::read(s).map(CheckKind::Unit)),
    ("network", |s| NetworkCheck::read(s).map(CheckKind::Network)),
    ("command", |s| CommandCheck::read(s).map(CheckKind::Command)),
    ("http", |s| HttpCheck::read(s).map(CheckKind::Http)),
    ("process", |s| ProcessCheck::read(s).map(CheckKind::Process)),
    ("file", |s| FileCheck::read(s).map(CheckKind::File)),
    ("mount", |s| MountCheck::read(s).map(CheckKind::Mount)),
    ("disk", |s| DiskCheck::read(s).map(CheckKind::Disk)),
    ("kernel", |s| KernelCheck::read(s).map(CheckKind::Kernel)),
    ("clock", |s| ClockCheck::read(s).map(CheckKind::Clock)),
    ("confirm", |s| ConfirmCheck::read(s).map(CheckKind::Confirm)),
];

fn read_kind(section: &mut Section<'_>) -> Result<CheckKind> {
    match section.word("kind", &KINDS)? {
        Some(read) => read(section),
        None => Err(section.error("has no kind")),
    }
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

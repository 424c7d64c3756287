//! `[[check]]`: the keys that every health check has.

use std::collections::BTreeSet;
use std::time::Duration;

use abide_core::config::assess::Assess;
use abide_core::config::duration::format;
use abide_core::config::form::{Count, Flag, Optional, Span, TextRule, Word};
use abide_core::config::section::{Form, Section, Settings};
use abide_core::config::tree::{Node, Table, Value};
use abide_core::error::{Error, Result};

use crate::config::described::{DescribedForm, DescribedSettings, DescribedText};
use crate::config::forms::{Limit, open_tables, tables};
use crate::config::kinds::check_kind::{CheckKind, KindOfCheck};
use crate::config::kinds::{ConfirmCheck, SystemCheck};
use crate::config::setting::Nested;
use crate::config::table::{settings, table_of};

/// One health check.
#[derive(Debug, Clone, PartialEq)]
pub struct CheckConfig {
    /// The name in messages, records and later files; unique.
    pub name: String,
    /// Whether it decides. A check that does not is only reported.
    pub required: bool,
    /// How long one run may take. A command that takes longer has failed permanently.
    pub timeout: Duration,
    /// How long after the start of one run the next one starts.
    pub interval: Duration,
    /// How long after the start of the assessment the first run starts.
    pub start_delay: Duration,
    /// How many failed runs in a row are tolerated.
    pub failures_allowed: u32,
    /// Whether it decides only if it passed on the last committed boot.
    pub only_if_passed_before: bool,
    /// Whether it runs one after the other with all others that have this set, in their order.
    pub in_order: bool,
    /// What is checked.
    pub kind: CheckKind,
}

settings! {
    /// What a check is.
    #[derive(Debug, Clone, PartialEq)]
    struct Identity {
        /// The name in messages and failure records. Every check needs its own.
        name: Printable, example "system";
        /// What is checked.
        kind: Word<KindOfCheck>, example "system";
    }
}

settings! {
    /// When a check runs, and what its result decides.
    #[derive(Debug, Clone, PartialEq)]
    struct CommonKeys {
        /// `false` removes the check, as if it were not configured.
        enabled: Flag = true;
        /// `false`: the check is only reported; it does not influence the decision.
        required: Flag = true;
        /// How long one run may take.
        timeout: Optional<Limit> = None,
            otherwise "`\"5s\"` for `network`, `\"30s\"` for `command`, else `\"10s\"`", example "10s";
        /// The time from the start of one run to the start of the next.
        interval: Span<SHORTEST_INTERVAL> = Duration::from_secs(10);
        /// How long after the start of the assessment the first run starts.
        start_delay: Span = Duration::ZERO;
        /// How many failed runs in a row are tolerated, once the check has passed.
        failures_allowed: Count<0, 1000> = 0;
        /// Whether the check is required only if it passed on the last committed system.
        only_if_passed_before: Flag = false;
    }
}

/// The shortest interval between two runs of a check, in milliseconds.
pub(super) const SHORTEST_INTERVAL: u64 = 100;

/// A text that can be shown in one line.
#[derive(Debug)]
struct Printable;

impl TextRule for Printable {
    fn problem(text: &str) -> Option<String> {
        let is_printable = !text.is_empty() && abide_core::text::is_printable(text);
        (!is_printable).then(|| "must contain only printable characters".into())
    }
}

impl DescribedText for Printable {
    const NAME: &'static str = "text";
}

/// A check as it is written, even if it is not enabled.
#[derive(Debug, Clone, PartialEq)]
pub struct WrittenCheck {
    name: String,
    common: CommonKeys,
    kind: CheckKind,
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
        Self::of(name.to_owned(), CommonKeys::default(), kind)
    }

    fn of(name: String, common: CommonKeys, kind: CheckKind) -> Self {
        Self {
            name,
            required: common.required,
            timeout: common.timeout.unwrap_or(kind.default_timeout()),
            interval: common.interval,
            start_delay: common.start_delay,
            failures_allowed: common.failures_allowed,
            only_if_passed_before: common.only_if_passed_before,
            in_order: false,
            kind,
        }
    }

    /// Refuses a check that could never pass before the deadline.
    pub(super) fn fits(&self, assess: &Assess) -> Result<()> {
        let wait = match &self.kind {
            CheckKind::Confirm(ConfirmCheck { wait: Some(wait), .. }) => *wait,
            _ => Duration::ZERO,
        };
        if self.required && self.start_delay + wait >= assess.deadline {
            return Err(Error::Usage(format!(
                "configuration: check '{}': its start_delay, plus its wait if it has one, must be shorter than the deadline, {}",
                self.name,
                format(assess.deadline)
            )));
        }
        Ok(())
    }
}

impl Default for WrittenCheck {
    /// As [`CheckConfig::default`].
    fn default() -> Self {
        let CheckConfig { name, kind, .. } = CheckConfig::default();
        Self { name, common: CommonKeys::default(), kind }
    }
}

impl WrittenCheck {
    /// The check, if it is enabled.
    pub(super) fn enabled(self) -> Option<CheckConfig> {
        self.common.enabled.then(|| CheckConfig::of(self.name, self.common, self.kind))
    }

    fn read(section: &mut Section<'_>) -> Result<Self> {
        let Identity { name, kind } = Identity::read(section)?;
        let common = CommonKeys::read(section)?;
        let kind = (kind.read)(section)?;
        section.finish()?;
        Ok(Self { name, common, kind })
    }

    fn write(&self) -> Table {
        let text = |text: &str| Some(Value::Text(text.to_owned()));
        let mut table = table_of([("name", text(&self.name)), ("kind", text(self.kind.word()))]);
        let timeout = self.common.timeout.unwrap_or(self.kind.default_timeout());
        table.extend(CommonKeys { timeout: Some(timeout), ..self.common.clone() }.write());
        table.extend(self.kind.write());
        table
    }
}

/// All `[[check]]` of a configuration.
#[derive(Debug)]
pub struct Checks;

impl Form for Checks {
    type Value = Vec<WrittenCheck>;

    fn read(section: &Section<'_>, key: &str, node: &Node) -> Result<Self::Value> {
        let mut names = BTreeSet::new();
        open_tables(section, key, node, |table| {
            let check = WrittenCheck::read(table)?;
            if check.common.enabled && !names.insert(check.name.clone()) {
                return Err(table.error_at("name", "is already the name of another check"));
            }
            Ok(check)
        })
    }
}

impl DescribedForm for Checks {
    fn write(value: &Self::Value) -> Option<Value> {
        tables(value.iter().map(WrittenCheck::write))
    }

    fn described() -> String {
        "tables".into()
    }

    fn table() -> Option<Nested> {
        Some(Nested { keys: [Identity::KEYS, CommonKeys::KEYS].concat(), repeated: true })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::kinds::check_kind::TIMEOUTS;

    #[test]
    fn the_documented_timeouts_are_those_of_the_kinds() {
        let said = CommonKeys::KEYS.iter().find(|setting| setting.key == "timeout").and_then(|s| s.otherwise);
        let of = |seconds: u64| format!("`\"{seconds}s\"`");
        for (word, seconds) in TIMEOUTS {
            let (own, other) = (format!("{} for `{word}`", of(*seconds)), format!("else {}", of(*seconds)));
            assert!(said.is_some_and(|said| said.contains(&own) || said.ends_with(&other)), "{word}");
        }
    }
}

//! `abide status` as metrics, in the text format of Prometheus.

use std::fmt::Write;
use std::time::SystemTime;

use crate::config::Config;
use crate::files;
use crate::health::{CheckResult, PublishedResults};
use crate::image::trust::Keys;
use crate::image::trust::keys::Expiry;
use crate::update::WholeMachine;
use crate::update::status::Status;
use abide_core::boot::Access;
use abide_core::error::Result;
use abide_core::root::Root;
use abide_core::state::BootKind;
use abide_core::update::Machine;

/// The kinds of boot. Each has a series: one that disappears raises no alarm.
const BOOTS: [(BootKind, &str); 4] = [
    (BootKind::Committed, "committed"),
    (BootKind::Trial, "trial"),
    (BootKind::Fallback, "fallback"),
    (BootKind::Unknown, "unknown"),
];

/// Writes the file for the textfile collector, where one is configured.
///
/// # Errors
/// [`abide_core::error::Error::Failed`] if it cannot be written; those of [`WholeMachine::read`].
pub fn write_metrics(root: &Root, config: &Config) -> Result<()> {
    let Some(file) = &config.events.metrics else { return Ok(()) };
    let machine = Machine::read(root, config.slots.as_ref(), Access::Read)?;
    let checks = PublishedResults::read(root).map(|published| published.checks).unwrap_or_default();
    let status = Status::read(&machine, config, None)?;
    let now = SystemTime::now();
    let keys = Keys::load(root).unwrap_or_default().expiries(now).collect::<Vec<_>>();
    files::replace(&root.path(file), text(&status, &checks, &keys).as_bytes())
}

/// All metrics. Each is a gauge.
fn text(status: &Status, checks: &[CheckResult], keys: &[Expiry]) -> String {
    let mut out = String::new();
    head(&mut out, "abide_boot", "The kind of this boot.");
    for (kind, word) in BOOTS {
        series(&mut out, "abide_boot", &[("kind", word)], u64::from(status.boot.kind == kind));
    }
    head(&mut out, "abide_slot", "The version and state of each slot; 1 for the running slot.");
    for slot in &status.slots {
        let name = slot.name.to_string();
        let version = slot.version.as_deref().unwrap_or_default();
        let labels = [("slot", name.as_str()), ("state", slot.state), ("version", version)];
        series(&mut out, "abide_slot", &labels, u64::from(slot.running));
    }
    let reserve = status.slots.iter().any(|slot| !slot.running && slot.good);
    head(&mut out, "abide_fallback_available", "Whether the other slot holds a good system.");
    series(&mut out, "abide_fallback_available", &[], u64::from(reserve));
    if let Some(update) = &status.update {
        head(&mut out, "abide_update", "The update in flight, or the last one.");
        let labels = [
            ("version", update.version.as_str()),
            ("status", update.user_status),
            ("substatus", update.sub_status),
        ];
        series(&mut out, "abide_update", &labels, 1);
    }
    if let Some(feed) = &status.feed {
        head(&mut out, "abide_update_available", "Whether the feed has an update to install.");
        let version = feed.available.as_deref().unwrap_or_default();
        let labels = [("version", version)];
        series(&mut out, "abide_update_available", &labels, u64::from(feed.available.is_some()));
        head(&mut out, "abide_update_percent", "How much of the update is downloaded, in percent.");
        series(&mut out, "abide_update_percent", &[], feed.percent.into());
        head(&mut out, "abide_feed_has_image", "Whether the feed has an image for this machine.");
        series(&mut out, "abide_feed_has_image", &[], u64::from(!feed.no_image));
        head(&mut out, "abide_feed_reached", "Whether the last poll of the feed succeeded.");
        series(&mut out, "abide_feed_reached", &[], u64::from(feed.error.is_none()));
    }
    head(&mut out, "abide_failed_images", "The number of failed images that are refused.");
    series(&mut out, "abide_failed_images", &[], status.failures.len() as u64);
    let expiring = keys.iter().filter_map(|key| Some((key, key.ends?)));
    let mut expiring = expiring.peekable();
    if expiring.peek().is_some() {
        head(&mut out, "abide_key_expires_seconds", "When an installed key expires, in seconds since 1970.");
    }
    for (key, ends) in expiring {
        let seconds = ends.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        series(&mut out, "abide_key_expires_seconds", &[("file", key.file.as_str())], seconds);
    }
    if !checks.is_empty() {
        head(&mut out, "abide_check", "Whether the check passed, or was skipped, when it ran last.");
        for check in checks {
            let required = if check.required { "true" } else { "false" };
            let labels = [("check", check.name.as_str()), ("required", required)];
            series(&mut out, "abide_check", &labels, u64::from(check.result.is_fine()));
        }
    }
    out
}

fn head(out: &mut String, name: &str, help: &str) {
    // Writing to a text never fails.
    write!(out, "# HELP {name} {help}\n# TYPE {name} gauge\n").unwrap_or_default();
}

fn series(out: &mut String, name: &str, labels: &[(&str, &str)], value: u64) {
    let labels: Vec<String> =
        labels.iter().map(|(key, value)| format!("{key}=\"{}\"", escaped(value))).collect();
    let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
    writeln!(out, "{name}{labels} {value}").unwrap_or_default();
}

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_escaped() {
        let mut out = String::new();
        series(&mut out, "m", &[("check", "a\"b\\c")], 1);
        assert_eq!(out, "m{check=\"a\\\"b\\\\c\"} 1\n");
    }
}

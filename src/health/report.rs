//! How the assessment stands, for whoever asks: `/run/abide/checks.json`.

use std::fs;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::health::CheckResult;
use crate::health::clock::Clock;
use crate::health::window::Standing;
use abide_core::error::{OrError, Result};
use abide_core::files;
use abide_core::root::Root;
use abide_core::state::boot_note::boot_id;

const PATH: &str = "/run/abide/checks.json";

/// The last results of this boot's assessment. Instants are seconds since the start of the kernel.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// The kernel's id of the boot that this speaks of.
    pub boot_id: String,
    /// When the trial ends whatever happens.
    pub deadline: f64,
    /// When the test window ends, if nothing breaks it; `None` while something is not healthy.
    #[serde(default)]
    pub window_ends: Option<f64>,
    /// The checks.
    pub checks: Vec<CheckResult>,
}

impl Report {
    /// A report of the boot that runs `root`.
    #[must_use]
    pub fn new(root: &Root, deadline: Duration, standing: &Standing, checks: &[CheckResult]) -> Self {
        let window_ends = match standing {
            Standing::Healthy { until } | Standing::LastRound { since: until } => Some(until.as_secs_f64()),
            Standing::Unhealthy | Standing::Passed | Standing::Failed(_) => None,
        };
        Self {
            boot_id: boot_id(root),
            deadline: deadline.as_secs_f64(),
            window_ends,
            checks: checks.to_vec(),
        }
    }

    /// The report of this very boot, if there is one.
    #[must_use]
    pub fn read(root: &Root) -> Option<Self> {
        let path = root.path(PATH);
        let text = fs::read_to_string(&path).ok()?;
        let report: Self = serde_json::from_str(&text)
            .inspect_err(|e| log::warn!("{}: not understood: {e}", path.display()))
            .ok()?;
        (report.boot_id == boot_id(root)).then_some(report)
    }

    /// Replaces the file, so that a reader sees the old one or the new one.
    ///
    /// # Errors
    /// [`abide_core::error::Error::Failed`] if `/run/abide` cannot be written.
    pub fn write(&self, root: &Root) -> Result<()> {
        let path = root.path(PATH);
        let bytes = serde_json::to_vec(self).or_failed(|| format!("{}: cannot encode", path.display()))?;
        files::replace(&path, &bytes)
    }

    /// Seconds until the deadline.
    #[must_use]
    pub fn deadline_in(&self, root: &Root) -> u64 {
        left(self.deadline, root)
    }

    /// Seconds until the test window ends, if it has begun.
    #[must_use]
    pub fn window_ends_in(&self, root: &Root) -> Option<u64> {
        self.window_ends.map(|end| left(end, root))
    }
}

fn left(instant: f64, root: &Root) -> u64 {
    let instant = Duration::try_from_secs_f64(instant).unwrap_or_default();
    instant.saturating_sub(Clock::new(root).now()).as_secs_f64().ceil() as u64
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_report_of_another_boot_is_not_read() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::at(dir.path());
        fs::create_dir_all(dir.path().join("proc/sys/kernel/random")).unwrap();
        let id = dir.path().join("proc/sys/kernel/random/boot_id");
        fs::write(&id, "one\n").unwrap();
        let standing = Standing::Healthy { until: Duration::from_secs(90) };
        let report = Report::new(&root, Duration::from_secs(100), &standing, &[]);
        report.write(&root).unwrap();
        assert_eq!(Report::read(&root), Some(report.clone()));
        fs::write(&id, "two\n").unwrap();
        assert_eq!(Report::read(&root), None);
    }

    #[test]
    fn the_time_left_is_counted_down_by_whoever_reads() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::at(dir.path());
        let standing = Standing::Healthy { until: Duration::from_secs(90) };
        let report = Report::new(&root, Duration::from_secs(100), &standing, &[]);
        fs::create_dir_all(dir.path().join("proc")).unwrap();
        fs::write(dir.path().join("proc/uptime"), "30.5 1\n").unwrap();
        assert_eq!((report.window_ends_in(&root), report.deadline_in(&root)), (Some(60), 70));
        fs::write(dir.path().join("proc/uptime"), "200 1\n").unwrap();
        assert_eq!((report.window_ends_in(&root), report.deadline_in(&root)), (Some(0), 0));
    }
}

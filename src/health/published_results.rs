//! The results of this boot's assessment for other processes, in `/run/abide/checks.json`.

use std::fs::File;
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use serde::{Deserialize, Serialize};

use crate::files;
use crate::files::OpenFolder;
use crate::health::CheckResult;
use crate::health::MonotonicClock;
use crate::health::assessment::AssessmentState;
use abide_core::error::{Error, OrError, Result};
use abide_core::root::Root;
use abide_core::state::boot_note::boot_id;

const PATH: &str = "/run/abide/checks.json";

/// Locked while an assessment runs.
const ASSESSING: &str = "/run/abide/assessing";

/// The last results of an assessment. Instants are seconds since the start of the kernel.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PublishedResults {
    /// The kernel's id of the boot that was assessed.
    pub boot_id: String,
    /// The deadline of the assessment.
    pub deadline: f64,
    /// The end of the test window; `None` while a required check is not healthy.
    #[serde(default)]
    pub window_ends: Option<f64>,
    /// Whether the assessment has ended with a verdict.
    #[serde(default)]
    pub ended: bool,
    /// The checks.
    pub checks: Vec<CheckResult>,
}

impl PublishedResults {
    /// The results of the boot that runs `root`.
    #[must_use]
    pub fn new(root: &Root, deadline: Duration, state: &AssessmentState, checks: &[CheckResult]) -> Self {
        let window_ends = match state {
            AssessmentState::Healthy { until } | AssessmentState::LastRound { since: until } => {
                Some(until.as_secs_f64())
            }
            AssessmentState::Unhealthy | AssessmentState::Passed | AssessmentState::Failed(_) => None,
        };
        Self {
            boot_id: boot_id(root),
            deadline: deadline.as_secs_f64(),
            window_ends,
            ended: matches!(state, AssessmentState::Passed | AssessmentState::Failed(_)),
            checks: checks.to_vec(),
        }
    }

    /// The results of this boot, if there are any.
    #[must_use]
    pub fn read(root: &Root) -> Option<Self> {
        let results: Self = files::read_json(&root.path(PATH))
            .inspect_err(|e| log::warn!("{e}; ignoring the results"))
            .ok()
            .flatten()?;
        (results.boot_id == boot_id(root)).then_some(results)
    }

    /// Whether the results say something about the system as it is now: the assessment runs, or has ended with a verdict. Those
    /// of one that has died are not renewed any more.
    #[must_use]
    pub fn count(&self, root: &Root) -> bool {
        self.ended || Assessing::is_under_way(root)
    }

    /// Writes the file.
    ///
    /// # Errors
    /// [`abide_core::error::Error::Failed`] if `/run/abide` cannot be written.
    pub fn write(&self, root: &Root) -> Result<()> {
        files::write_json(&root.path(PATH), self)
    }

    /// Seconds until the deadline.
    #[must_use]
    pub fn deadline_in(&self, root: &Root) -> u64 {
        left(self.deadline, root)
    }

    /// Seconds until the end of the test window, if it has begun.
    #[must_use]
    pub fn window_ends_in(&self, root: &Root) -> Option<u64> {
        self.window_ends.map(|end| left(end, root))
    }
}

/// Held by an assessment while it runs, and released by its end, whatever that is.
#[derive(Debug)]
pub struct Assessing {
    _file: Flock<File>,
}

impl Assessing {
    /// Shows other processes that an assessment runs.
    ///
    /// # Errors
    /// [`Error::Failed`] if `/run/abide` cannot be written.
    pub fn begin(root: &Root) -> Result<Self> {
        let cannot = || format!("{ASSESSING}: cannot lock");
        let file = open_lock(root).or_failed(cannot)?;
        // Shared: the only ones in the way are those who look, for a moment.
        let file = Flock::lock(file, FlockArg::LockShared).map_err(|(_, e)| e).or_failed(cannot)?;
        Ok(Self { _file: file })
    }

    fn is_under_way(root: &Root) -> bool {
        match open_lock(root).map(|file| Flock::lock(file, FlockArg::LockExclusiveNonblock)) {
            Ok(Err((_, Errno::EWOULDBLOCK))) => true,
            Ok(Ok(_)) => false,
            Ok(Err((_, e))) => {
                log::warn!("{ASSESSING}: cannot lock: {e}");
                false
            }
            Err(e) => {
                log::warn!("{e}");
                false
            }
        }
    }
}

fn open_lock(root: &Root) -> Result<File> {
    let path = root.path(ASSESSING);
    let cannot = || format!("{}: cannot open", path.display());
    let (Some(dir), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(Error::Failed(cannot()));
    };
    OpenFolder::create(dir).and_then(|folder| folder.open_to_write(name, 0o600)).or_failed(cannot)
}

fn left(instant: f64, root: &Root) -> u64 {
    let instant = Duration::try_from_secs_f64(instant).unwrap_or_default();
    instant.saturating_sub(MonotonicClock::new(root).now()).as_secs_f64().ceil() as u64
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::fs;

    use super::*;

    #[test]
    fn results_of_another_boot_are_not_read() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::at(dir.path());
        fs::create_dir_all(dir.path().join("proc/sys/kernel/random")).unwrap();
        let id = dir.path().join("proc/sys/kernel/random/boot_id");
        fs::write(&id, "one\n").unwrap();
        let state = AssessmentState::Healthy { until: Duration::from_secs(90) };
        let results = PublishedResults::new(&root, Duration::from_secs(100), &state, &[]);
        results.write(&root).unwrap();
        assert_eq!(PublishedResults::read(&root), Some(results.clone()));
        fs::write(&id, "two\n").unwrap();
        assert_eq!(PublishedResults::read(&root), None);
    }

    #[test]
    fn results_count_while_their_assessment_runs_or_if_it_has_a_verdict() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::at(dir.path());
        let state = AssessmentState::Healthy { until: Duration::from_secs(90) };
        let mut results = PublishedResults::new(&root, Duration::from_secs(100), &state, &[]);
        assert!(!results.count(&root));
        let running = Assessing::begin(&root).unwrap();
        assert!(results.count(&root));
        drop(running);
        assert!(!results.count(&root), "it has died");
        results.ended = true;
        assert!(results.count(&root));
    }

    #[test]
    fn the_time_left_is_counted_when_it_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::at(dir.path());
        let state = AssessmentState::Healthy { until: Duration::from_secs(90) };
        let results = PublishedResults::new(&root, Duration::from_secs(100), &state, &[]);
        fs::create_dir_all(dir.path().join("proc")).unwrap();
        fs::write(dir.path().join("proc/uptime"), "30.5 1\n").unwrap();
        assert_eq!((results.window_ends_in(&root), results.deadline_in(&root)), (Some(60), 70));
        fs::write(dir.path().join("proc/uptime"), "200 1\n").unwrap();
        assert_eq!((results.window_ends_in(&root), results.deadline_in(&root)), (Some(0), 0));
    }
}

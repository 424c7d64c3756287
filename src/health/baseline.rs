//! The baseline: the checks that pass and the units that have failed, to compare the next system with.

use std::time::Duration;

use log::warn;

use crate::config::Config;
use crate::files;
use crate::health::check::prepare;
use crate::health::check_result::{CheckResult, CheckStatus};
use crate::health::monotonic_clock::MonotonicClock;
use crate::health::runner::Runner;
use crate::systemd::Manager;
use abide_core::error::Result;
use abide_core::root::Root;
use abide_core::state::Baseline;

const PATH: &str = "/run/abide/baseline.json";

const LIMIT: Duration = Duration::from_secs(10);

/// Runs the checks once on the committed system, before an update is applied. `before` is the baseline so
/// far.
#[must_use]
pub fn take(root: &Root, config: &Config, before: &Baseline) -> Baseline {
    let results = Runner::new(prepare(config, before, root), MonotonicClock::new(root)).once(|_| {});
    of_results(root, &results)
}

/// The baseline of `results`, with the units that have failed by now.
#[must_use]
pub fn of_results(root: &Root, results: &[CheckResult]) -> Baseline {
    let passed = results.iter().filter(|r| r.result == CheckStatus::Pass).map(|r| r.name.clone());
    let failed = Manager::new(root, LIMIT).failed_units();
    Baseline {
        passed_checks: passed.collect(),
        failed_units: failed.inspect_err(|e| warn!("cannot list the failed units: {e}")).unwrap_or_default(),
    }
}

/// What `assess` left in this boot, if it ran.
#[must_use]
pub fn read(root: &Root) -> Option<Baseline> {
    files::read_json(&root.path(PATH)).unwrap_or_else(|e| {
        warn!("{e}");
        None
    })
}

/// Leaves it for `commit`.
///
/// # Errors
/// [`abide_core::error::Error::Failed`] if `/run/abide` cannot be written.
pub fn write(root: &Root, baseline: &Baseline) -> Result<()> {
    files::write_json(&root.path(PATH), baseline)
}

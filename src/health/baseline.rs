//! How a healthy system looks right now: what its successor is compared with.

use std::time::Duration;

use crate::config::Config;
use crate::health::MonotonicClock;
use crate::health::runner::{Runner, prepare};
use crate::health::{CheckResult, CheckStatus};
use crate::systemd::Manager;
use abide_core::root::Root;
use abide_core::state::Baseline;

const LIMIT: Duration = Duration::from_secs(10);

/// Runs the checks once on the committed system, right before an update is applied. `before` is what
/// was remembered so far.
#[must_use]
pub fn take(root: &Root, config: &Config, before: &Baseline) -> Baseline {
    let results = Runner::new(prepare(config, before, root), MonotonicClock::new(root)).once();
    of_results(root, &results)
}

/// The baseline that `results` amount to, with the units that have failed by now.
#[must_use]
pub fn of_results(root: &Root, results: &[CheckResult]) -> Baseline {
    let passed = results.iter().filter(|r| r.result == CheckStatus::Pass).map(|r| r.name.clone());
    let failed = Manager::new(root, LIMIT).failed_units();
    Baseline {
        passed_checks: passed.collect(),
        failed_units: failed
            .inspect_err(|e| log::warn!("cannot tell which units have failed: {e}"))
            .unwrap_or_default(),
    }
}

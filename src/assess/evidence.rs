//! The evidence for a commit that somebody asks for: the required checks have passed in this boot.

use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::assess::assessment_run::saved_state;
use crate::config::Config;
use crate::health::baseline;
use crate::health::runner::Runner;
use crate::health::{CheckResult, CheckStatus, MonotonicClock, PublishedResults, prepare};
use abide_core::error::{Error, Result};
use abide_core::root::Root;

/// Between two looks at the results of the assessment, and what is left for the last run of the checks.
const LOOK: Duration = Duration::from_millis(250);

/// Between runs of the checks where no assessment runs them: each may start programs.
const PAUSES: [Duration; 3] = [Duration::from_secs(1), Duration::from_secs(2), Duration::from_secs(5)];

/// Waits until each required check has passed in this boot, as the running assessment has published it, or one that has
/// ended with a verdict; where there is none, the checks are run here. A check of kind `confirm` needs the answer: the
/// caller's wish is not one. The test window need not have passed. No lock is held meanwhile.
///
/// # Errors
/// [`Error::Refused`] with the checks that have not passed after `limit`; `None`: after one look.
pub fn wait_for(root: &Root, config: &Config, limit: Option<Duration>) -> Result<()> {
    let started = Instant::now();
    let left = || limit.map(|limit| limit.saturating_sub(started.elapsed()));
    let mut pauses = PAUSES.into_iter().chain(PAUSES.last().copied().into_iter().cycle());
    loop {
        // The assessment leaves it when it has passed.
        if baseline::read(root).is_some() {
            return Ok(());
        }
        let published = PublishedResults::read(root).filter(|results| results.count(root));
        let (results, pause) = match published {
            Some(published) => (published.checks, LOOK),
            None => (run_once(root, config, left()), pauses.next().unwrap_or(LOOK)),
        };
        let Some(open) = open_checks(&results) else { return Ok(()) };
        // A run that there is no time for would only hide the reason.
        match left().and_then(|left| left.checked_sub(LOOK)).filter(|left| !left.is_zero()) {
            Some(left) => sleep(pause.min(left)),
            None => return Err(Error::Refused(open)),
        }
    }
}

/// Runs the checks here and now, at most for `limit`.
fn run_once(root: &Root, config: &Config, limit: Option<Duration>) -> Vec<CheckResult> {
    let checks = prepare(config, &saved_state(root).baseline, root);
    let mut runner = Runner::new(checks, MonotonicClock::new(root));
    runner.once_within(limit.unwrap_or(Duration::MAX), |_| {})
}

/// The required checks that have not passed, in one sentence.
fn open_checks(results: &[CheckResult]) -> Option<String> {
    let open: Vec<String> = results
        .iter()
        .filter(|check| check.required && !check.result.is_fine())
        .map(|check| match (check.result, check.reason.as_str()) {
            (CheckStatus::Pending, _) => format!("check '{}' has not ended yet", check.name),
            (_, "") => format!("check '{}' has not passed", check.name),
            (_, reason) => format!("check '{}': {reason}", check.name),
        })
        .collect();
    (!open.is_empty()).then(|| open.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_required_check_must_have_passed_and_is_named_if_not() {
        let check = |name: &str, required, result, reason: &str| CheckResult {
            name: name.into(),
            required,
            result,
            reason: reason.into(),
            output: String::new(),
            seconds: 0.0,
        };
        let fine = [
            check("a", true, CheckStatus::Pass, ""),
            check("b", true, CheckStatus::Skipped, "not here"),
            check("wanted", false, CheckStatus::Fail, "down"),
        ];
        assert_eq!(open_checks(&fine), None);
        let open = [
            check("a", true, CheckStatus::Pending, ""),
            check("b", true, CheckStatus::Fail, "no route"),
            check("c", true, CheckStatus::Pass, ""),
        ];
        assert_eq!(open_checks(&open).as_deref(), Some("check 'a' has not ended yet; check 'b': no route"));
    }
}

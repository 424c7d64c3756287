//! One run of the assessment: the checks of the configuration until they have passed or failed, or until a
//! signal stops them.

use log::warn;

use crate::assess::status_reporter::StatusReporter;
use crate::assess::stop_signal;
use crate::config::Config;
use crate::health::runner::{AssessmentEnd, Runner};
use crate::health::{Assessing, Assessment, Check, CheckResult, MonotonicClock, prepare};
use abide_core::boot::Access;
use abide_core::error::Result;
use abide_core::root::Root;
use abide_core::state::{Baseline, State};
use abide_core::update::Machine;

/// The checks and the assessment that decides on their results.
pub(super) struct AssessmentRun<'a> {
    root: &'a Root,
    config: &'a Config,
    clock: MonotonicClock,
    assessment: Assessment,
    runner: Runner,
    _assessing: Option<Assessing>,
}

impl<'a> AssessmentRun<'a> {
    /// Prepares the checks. From now on SIGTERM and SIGINT stop the run.
    ///
    /// # Errors
    /// [`abide_core::error::Error::Failed`] if no thread can be started.
    pub(super) fn prepare(root: &'a Root, config: &'a Config, baseline: &Baseline) -> Result<Self> {
        let clock = MonotonicClock::new(root);
        let checks = prepare(config, baseline, root);
        let rules = checks.iter().map(Check::rule).collect();
        let assessment = Assessment::new(config.assess.test_window, config.assess.deadline, rules);
        let runner = Runner::new(checks, clock);
        let handle = runner.stop_handle();
        stop_signal::on_stop_signal(move || handle.stop())?;
        let assessing =
            Assessing::begin(root).inspect_err(|e| warn!("{e}; `abide commit` runs the checks itself"));
        Ok(Self { root, config, clock, assessment, runner, _assessing: assessing.ok() })
    }

    /// Runs to the end. `observe` gets the results before they are shown.
    pub(super) fn run(&mut self, mut observe: impl FnMut(&[CheckResult])) -> AssessmentEnd {
        let mut reporter = StatusReporter::new(self.root, &self.config.assess, self.clock);
        self.runner.assess(&mut self.assessment, |state, results| {
            observe(results);
            reporter.show(state, results);
        })
    }

    /// The last result of each check.
    pub(super) fn results(&self) -> Vec<CheckResult> {
        self.runner.results()
    }
}

/// The state on the ESP, with the baseline of the last committed system. Without it the checks are
/// stricter; the assessment continues.
pub(super) fn saved_state(root: &Root) -> State {
    match Machine::read_boot(root, Access::Read) {
        Ok(machine) => machine.state(),
        Err(e) => {
            warn!("{e}; failures from before the update are unknown");
            State::default()
        }
    }
}

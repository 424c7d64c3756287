//! Health checks: what each kind tests, and the assessment: when a system on trial has passed.

pub mod assessment;
pub mod baseline;
mod check;
mod check_result;
pub mod kinds;
mod monotonic_clock;
mod pattern;
mod probe;
mod published_results;
pub mod runner;
mod schedule;
pub mod script_run;
pub mod scripts;
mod starters;
mod unit_names;

pub use assessment::Assessment;
pub use check::{Check, prepare};
pub use check_result::{CheckResult, CheckStatus};
pub use monotonic_clock::MonotonicClock;
pub use probe::{Probe, ProbeResult};
pub use published_results::{Assessing, PublishedResults};

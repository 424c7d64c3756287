//! The assessment that runs beside a boot: of a system on trial ([`trial_boot`]), and of a committed one
//! ([`committed_boot`]). A trial that fails is rolled back in [`rollback_on_failure`].

mod assessment_run;
pub mod committed_boot;
mod diagnosis;
pub mod rollback_on_failure;
mod status_reporter;
mod stop_signal;
pub mod trial_boot;

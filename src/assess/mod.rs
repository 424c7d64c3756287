//! The assessment that runs beside a boot: of a system on trial ([`trial_boot`]), and of a committed one
//! ([`committed_boot`]). A trial that fails ends in [`failed_trial`], by a rollback or a retry.

mod assessment_run;
pub mod committed_boot;
pub mod consent;
mod deadline;
mod diagnosis;
pub mod evidence;
pub mod failed_trial;
mod status_reporter;
mod stop_signal;
pub mod trial_boot;

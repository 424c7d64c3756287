//! What this boot is in the life of an update, and how a trial is given up.
//!
//! [`finding`] tells what the boot is, from all witnesses at once, and [`reconcile`] what follows; both are
//! pure. [`step`] does it, one small operation at a time, each safe to be cut off after and to be
//! repeated. What cannot be undone passes [`guard`] first.

pub mod clock;
pub mod deadline;
pub mod finding;
pub mod guard;
pub mod kept;
pub mod kernel;
pub mod machine;
mod milestones;
pub mod other_trial;
pub mod outcome;
pub mod overrides;
pub mod reboot;
pub mod reconcile;
pub mod record;
pub mod renames;
pub mod rollback;
pub mod step;
pub mod trial;

pub use machine::{Machine, Sources};
pub use step::{STAGED_UKI, Step};

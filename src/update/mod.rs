//! The life of one update: staged, applied, tried, committed or rolled back.
//!
//! What to do is decided by pure functions over what was read ([`reconcile`],
//! [`switch`], the `plan` function of each command); [`step`] does it, one small
//! operation at a time, each safe to be cut off after and to be repeated.

pub mod apply;
pub mod clock;
pub mod commit;
#[cfg(feature = "full")]
pub mod every_boot;
#[cfg(feature = "full")]
pub mod feed_report;
#[cfg(feature = "full")]
pub mod firmware;
pub mod forget;
pub mod machine;
pub mod rearm;
pub mod reboot;
pub mod reconcile;
pub mod report;
pub mod rollback;
pub mod step;
pub mod switch;
pub mod trial;
#[cfg(feature = "full")]
pub mod write;

pub use machine::{Machine, Sources};
pub use step::Step;

/// Where the staged UKI waits, relative to the ESP, under a name that no loader shows.
///
/// In the folder in which it will be an entry: a rename from one folder to another
/// changes two sectors, and a power cut between the two leaves both names for one
/// file. Replacing the staged UKI would then free the clusters of the system that runs.
pub const STAGED_UKI: &str = "EFI/Linux/staged.uki";

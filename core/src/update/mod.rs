//! What this boot is in the life of an update, and how a trial is given up.
//!
//! What to do is decided by pure functions over what was read ([`reconcile`], [`switch`]); [`step`]
//! does it, one small operation at a time, each safe to be cut off after and to be repeated.

pub mod clock;
pub mod machine;
pub mod outcome;
pub mod overrides;
pub mod rearm;
pub mod reboot;
pub mod reconcile;
pub mod renames;
pub mod rollback;
pub mod step;
pub mod switch;
pub mod trial;

pub use machine::{Machine, Sources};
pub use step::Step;

/// Where the staged UKI waits, relative to the ESP, under a name that no loader shows.
///
/// In the folder in which it will be an entry: a rename from one folder to another
/// changes two sectors, and a power cut between the two leaves both names for one
/// file. Replacing the staged UKI would then free the clusters of the system that runs.
pub const STAGED_UKI: &str = "EFI/Linux/staged.uki";

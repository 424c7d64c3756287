//! What this boot is in the life of an update, and how a trial is given up.
//!
//! What to do is decided by pure functions over what was read ([`reconcile`]); [`step`]
//! does it, one small operation at a time, each safe to be cut off after and to be repeated.

pub mod clock;
pub mod machine;
pub mod outcome;
pub mod overrides;
pub mod reboot;
pub mod reconcile;
pub mod renames;
pub mod rollback;
pub mod standing;
pub mod step;
pub mod trial;

pub use machine::{Machine, Sources};
pub use step::{STAGED_UKI, Step};

//! What is remembered: on the ESP across boots, and in `/run` for this boot.
//!
//! On the ESP: [`saved_state`] has the fields, [`fit`] their bounds, [`carry`] what a newer Abide has written beside
//! them, [`state_file`] the bytes of the files that hold them; [`history`] what happened on this
//! machine.

pub mod boot_note;
pub mod bounds;
mod carry;
mod fit;
pub mod history;
pub mod lock;
pub mod lock_holder;
mod reboots;
pub mod run_file;
pub mod saved_state;
pub mod state_file;

pub use boot_note::{BootKind, BootNote};
pub use lock::Lock;
pub use reboots::Reboots;
pub use saved_state::{
    Baseline, BootEnd, FailedCheck, Failure, Installed, Phase, Previous, Remedy, SeenList, Stage, State,
    TrialBoot, Uki, Unhealthy, Update, Verdict,
};
pub use state_file::{STATE_DIR, Store};

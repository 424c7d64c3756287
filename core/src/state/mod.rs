//! What is remembered: on the ESP across boots, and in `/run` for this boot.

mod baseline;
pub mod boot_note;
pub mod lock;
pub mod model;
pub mod store;

pub use boot_note::{BootKind, BootNote};
pub use lock::Lock;
pub use model::{
    Baseline, BootEnd, FailedCheck, Failure, Installed, Phase, Previous, Remedy, Stage, State, TrialBoot,
    Uki, Unhealthy, Update, Verdict,
};
pub use store::{STATE_DIR, Store};

//! What `abide status` shows, as data: EVE's vocabulary for Abide's state.

mod build;
mod feed;
mod machine;
mod slot;
mod update;

pub use feed::FeedStatus;
pub use machine::{BootStatus, LoaderStatus, Status};
pub use slot::SlotStatus;
pub use update::{ErrorInfo, UpdateStatus};

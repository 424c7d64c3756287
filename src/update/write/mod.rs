//! `write`: writes an image into the other slot, verified and not yet bootable.
//!
//! The order makes it safe to be interrupted anywhere: everything that can be refused is refused first;
//! then the slot's old entry is removed; then the state records that the slot is being written; and only
//! after everything was read back and the digest is right does it record that an update is staged. The
//! next `write` simply starts again.

mod delta;
mod discovery;
mod disk_image;
mod esp_space;
mod foresight;
mod image_set;
mod lacking;
mod mapped_root;
mod named_image;
mod open;
mod open_image;
mod overwrite;
mod own_tree;
mod partitions;
mod plan;
mod regions;
mod running_build;
mod slot_write;
mod staged_uki;
mod staging;
mod target;
mod uki_patch;
mod wanted;

pub use esp_space::{EspSpace, SPARE};
pub use lacking::{Lacking, Missing};
pub use named_image::NamedImage;
pub use open_image::{ImageSummary, PartitionSummary};
pub use overwrite::refuse_to_overwrite;
pub use partitions::PartitionPlan;
pub use plan::{PlanInput, WritePlan};
pub use slot_write::{Progress, Written, write};
pub use staging::{Complete, begin, end};
pub use target::{Target, target};
pub use wanted::Wanted;

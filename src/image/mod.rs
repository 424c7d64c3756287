//! Images: where they come from, how they are packed, what they contain.
//!
//! An image is read once, from front to back, with bounded memory: [`Stream`] hashes the
//! published bytes while it decodes them, [`Layout`] is its partition table, [`Esp`] keeps
//! the image's ESP until the UKI in it has been copied.

pub mod addons;
pub mod answer;
mod chunks;
mod codec;
pub mod content_range;
mod esp;
mod folder;
pub mod image_digest;
mod layout;
pub mod names;
mod open;
mod release_list;
pub mod sha256;
mod source;
mod spool;
mod stream;
pub(crate) mod transfer;
pub mod trust;
mod window;

pub use esp::Esp;
pub use folder::Folder;
pub use layout::{HEAD, ImagePartition, Layout, PartitionType};
pub use source::Source;
pub use spool::{Spool, SpoolReader};
pub use stream::{Stream, wrong_digest};

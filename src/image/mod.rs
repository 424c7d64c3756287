//! An image's world: where it comes from, how it is packed, what is in it.
//!
//! An image is read once, from front to back, with bounded memory: [`Stream`] hashes the
//! published bytes while it decodes them, [`Layout`] says which part is what, [`Esp`] keeps
//! the image's ESP until the UKI in it has been copied.

mod chunks;
mod codec;
mod esp;
mod folder;
pub(crate) mod http;
pub mod http_range;
mod layout;
pub mod names;
mod source;
mod spool;
mod stream;
pub mod trust;

pub use esp::Esp;
pub use folder::Folder;
pub use layout::{HEAD, Kind, Layout, Partition};
pub use source::{Source, shown};
pub use spool::{Spool, SpoolReader};
pub use stream::Stream;

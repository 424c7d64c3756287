//! Only what differs: the table of a root's regions, and patches that make each region from the running root.
//!
//! Specified in docs/reference/delta.md. A region is verified by its SHA-256 before it is used, so neither the old
//! root, nor the patch, nor the server has to be trusted.

mod anchors;
mod digest;
mod fields;
pub mod file_names;
mod frame;
mod map;
mod patch;

pub use anchors::Anchors;
pub use digest::{Digest, digest};
pub use frame::{DICTIONARY, MAX_FRAME, Packer, pack, unpack};
pub use map::{Map, REGION, Region};
pub use patch::{Header, MAX_OLD, MAX_RANGES, Range, Record, read_record, write_record};

//! The hash tree of dm-verity, made while the data is written.
//!
//! For machines whose images bring no tree, and that make it themselves: it is what `veritysetup format` makes by
//! default, but in the same pass as the write, and not in a second one over the device.

mod format;
mod hasher;
mod writer;

pub use format::{Format, SALT};
pub use writer::HashTree;

#[cfg(test)]
mod tests;

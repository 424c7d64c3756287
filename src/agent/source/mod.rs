//! Where updates come from: a feed, or a hawkBit server.
//!
//! A new source implements [`UpdateSource`] in a file or folder of its own here, is chosen in [`open()`], and has its
//! setting in [`crate::config::update`], where [`Update::source`](crate::config::Update::source) and the methods beside
//! it define what the setting means outside of the source.

mod feed;
mod hawkbit;
mod interface;
mod open;

pub use interface::{Demands, News, UpdateSource};
pub use open::open;

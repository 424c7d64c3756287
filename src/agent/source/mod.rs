//! Where updates come from: a feed, or a hawkBit server.
//!
//! A source implements [`UpdateSource`] in a file or folder of its own here, and is chosen in [`open`].

mod feed;
mod hawkbit;
mod interface;
mod open;

pub use interface::{Demands, News, UpdateSource};
pub use open::{open, token};

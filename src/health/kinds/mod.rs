//! The kinds of check, one file a kind, each with an arm in [`new_probe()`].
//!
//! A new kind begins with its line in the table of [`crate::config::kinds::check_kind`], and its keys in a file beside
//! that table.

mod clock;
mod command;
pub mod confirm;
mod disk;
mod file;
mod http;
mod kernel;
mod mount;
mod network;
mod new_probe;
mod process;
pub mod system;
pub mod unit;

pub use new_probe::new_probe;

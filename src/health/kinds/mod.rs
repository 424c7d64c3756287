//! The kinds of check, one file a kind; [`new_probe`] makes the one that the configuration asks for.

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

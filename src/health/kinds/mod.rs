//! The kinds of check, one file a kind.

pub mod clock;
pub mod command;
pub mod confirm;
pub mod disk;
pub mod file;
pub mod http;
pub mod kernel;
pub mod mount;
pub mod network;
pub mod process;
pub mod system;
pub mod unit;

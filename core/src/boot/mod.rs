//! The boot loader's world: its choice ([`model`]), its EFI variables ([`efi`]), and its files ([`esp`]).
//!
//! Everything that decides is pure; the effects are the methods of
//! [`esp::volume::Volume`] (files on ESP and XBOOTLDR) and [`efi::efivars::EfiVars`].

pub mod efi;
pub mod esp;
pub mod model;

#[cfg(test)]
pub(crate) mod tests;

pub use efi::efivars::EfiVars;
pub use efi::loader_vars::LoaderVars;
pub use esp::dirs::{Access, BootDirs};
pub use esp::volume::{DirVolume, Volume};
pub use model::counter::Counter;
pub use model::entry::{BootPartition, Entry};
pub use model::loader_conf::LoaderConf;
pub use model::quirks::Quirks;

//! The boot loader's world: entries and their counters, the loader's choice,
//! EFI variables and the ESP.
//!
//! Everything that decides is pure; the effects are the methods of
//! [`volume::Volume`] (files on ESP and XBOOTLDR) and [`efivars::EfiVars`].

pub mod choice;
mod conf_file;
pub mod counter;
pub mod efivars;
pub mod entries;
pub mod entry;
pub mod esp;
pub mod fat;
mod filler;
#[cfg(feature = "full")]
pub mod firmware;
pub mod glob;
#[cfg(feature = "full")]
pub mod kernel_args;
pub mod listing;
pub mod loader_conf;
pub mod loader_vars;
mod locate;
pub mod name;
pub mod order;
pub mod osrel;
pub mod partitions;
pub mod quirks;
pub mod second_name;
pub mod sector;
pub mod tail;
pub mod type1;
pub mod uki;
pub mod version;
pub mod volume;

#[cfg(test)]
mod choice_tests;
#[cfg(test)]
pub(crate) mod tests;

pub use counter::Counter;
pub use efivars::EfiVars;
pub use entry::{Entry, Partition};
pub use esp::{Access, BootDirs};
pub use loader_conf::LoaderConf;
pub use loader_vars::LoaderVars;
pub use quirks::Quirks;
pub use volume::{Folder, Volume};

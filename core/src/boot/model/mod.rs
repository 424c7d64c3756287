//! The model of systemd-boot: which entries there are, in which order, and which one boots next. Pure.

pub mod choice;
mod conf_file;
pub mod counter;
pub mod entry;
pub mod glob;
pub mod loader_conf;
pub mod name;
pub mod order;
pub mod osrel;
pub mod quirks;
pub mod type1;
pub mod uki;
pub mod version;

#[cfg(test)]
mod choice_tests;

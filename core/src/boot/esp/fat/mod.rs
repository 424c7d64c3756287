//! FAT file systems read straight from their device or image, by the rules of Linux (`fs/fat`).
//!
//! The kernel's vfat is what mounts the ESP everywhere else, so the two must agree on what is a FAT, of which kind, and
//! which names it has. Everything ends: a chain of clusters in a circle, or a directory without an end, is an error.

pub mod disk;
pub mod layout;
pub mod names;
pub mod reader;
pub mod volume;

#[cfg(test)]
pub(crate) mod tests;

pub use volume::FatVolume;

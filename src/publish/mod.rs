//! `publish`: makes the files of a release that let machines fetch only what differs.

mod deltas;
mod file_system;
mod folder;
mod metadata;
mod raw_file;
mod release;
mod split;

pub use release::{Made, Options, how_to_sign, publish};

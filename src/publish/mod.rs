//! `publish`: makes the files of a release that let machines fetch only what differs.

mod deltas;
mod folder;
mod release;
mod root_file;

pub use release::{Made, Options, how_to_sign, publish};

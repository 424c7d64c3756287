//! The tests that need a virtual machine: one executable, so that two machines run side by side
//! from the first test to the last. They start in the order of their names: short ones come last.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod commits;
mod crash;
mod dm_verity;
mod downgrade;
mod driver;
mod emt;
mod emt_nodes;
mod feed;
mod firmware_options;
// Each of the two kinds of test that use it uses a part of it.
mod health;
mod interrupted;
mod loader;
mod matrix;
mod model;
mod older_abide;
mod orders;
mod secure_boot;
mod support;
mod vfat;

//! The tests that need a virtual machine: one executable, so that two machines run side by side
//! from the first test to the last.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod commits;
mod crash;
mod downgrade;
mod driver;
mod emt;
mod feed;
mod firmware_options;
// Each of the two kinds of test that use it uses a part of it.
mod health;
mod loader;
mod matrix;
mod model;
mod orders;
mod power_cut;
mod support;
mod verity;

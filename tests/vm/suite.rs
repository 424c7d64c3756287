//! The tests that need a virtual machine: one executable, so that two machines run side by side
//! from the first test to the last.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod commits;
mod crash;
#[path = "../support/dice.rs"]
mod dice;
mod downgrade;
mod driver;
mod emt;
mod feed;
mod firmware_options;
// Each of the two kinds of test that use it uses a part of it.
#[allow(dead_code)]
#[path = "../support/hawkbit.rs"]
mod hawkbit;
mod health;
mod loader;
mod matrix;
mod model;
mod orders;
mod power_cut;
#[path = "../support/skip.rs"]
mod skip;
mod support;
mod verity;

//! A fleet with a virtual clock: the real policy, jitter, windows and back-off of each node, and a feed or
//! hawkBit-style waves in front of them. See `docs/explanation/fleet.md`.
//!
//! `cargo test` runs small fleets. `make fleet` runs those of the document, too, and writes its table and plot:
//! `ABIDE_FLEET=10,1000,100000 ABIDE_FLEET_WRITE=1`. `ABIDE_SEED` draws another fleet.

#![allow(missing_docs)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod node;
mod outcome;
mod plot;
mod scenario;
mod server;
mod table;
mod tests;
mod world;

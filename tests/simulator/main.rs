//! The simulator: every point at which the power can fail, in whole lives of updates, on a disk that
//! loses, keeps or reorders unflushed writes; the invariants are checked after each. See
//! `docs/explanation/crash-safety.md`.

#![allow(missing_docs)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod check;
mod disk;
mod explore;
mod generation;
mod lives;
mod mutation;
mod session;
mod volume;
mod witnesses;
mod world;
mod write;

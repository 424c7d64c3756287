//! Machines (folders) and the servers of a fleet: a real hawkBit, and a real FleetLock server where it can be had.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

mod consent;
#[path = "../support/ddi.rs"]
mod ddi;
#[path = "../support/fleetlock.rs"]
mod fleetlock;
// Each of the two kinds of test that use it uses a part of it.
#[allow(dead_code)]
#[path = "../support/hawkbit.rs"]
mod hawkbit;
mod node;
mod orders;
mod queue;
#[path = "../support/mod.rs"]
mod support;

use node::Node;

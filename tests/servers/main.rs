//! Machines (folders) and the servers of a fleet: a real hawkBit, a real gooseBit, and a real FleetLock server, as far
//! as they are available.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

mod answers;
mod carried;
mod check;
mod consent;
mod goosebit;
mod kept;
mod node;
mod orders;
mod published;
mod queue;

use node::Node;

//! Eclipse hawkBit: a server that decides what each machine installs, by its Direct Device Integration
//! (DDI) API, version 1.
//!
//! What it says is parsed ([`ddi`]), what is told to it is decided ([`follow`]) and kept in order on
//! the disk until it has candidate it ([`ledger`]); [`client`] is the part that speaks HTTP.

pub mod client;
pub mod ddi;
pub mod follow;
pub mod ledger;
pub mod message;
pub mod server;
pub mod source;

pub use client::Client;
pub use ddi::{Artifact, Deployment, Handling, Order};
pub use follow::{Here, cancel, follow};
pub use ledger::{Denied, File, Ledger, Task};
pub use message::{Finished, Milestone};

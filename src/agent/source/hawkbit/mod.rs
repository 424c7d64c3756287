//! Eclipse hawkBit: a server that assigns an update to each machine, through its Direct Device Integration (DDI)
//! API, version 1.
//!
//! [`ddi`] parses the server's answers, [`client`] speaks HTTP, [`acceptable`] is what the server takes. [`progress`]
//! derives from the machine's state what to report, [`ledger`] keeps the feedback on disk until the server has accepted
//! it. [`source`] is the [`UpdateSource`](super::UpdateSource) made of these, [`orders`] what it does about each order,
//! [`attributes`] what it says of the machine, and [`assignment`] the files of an order. Other servers speak the same
//! protocol: gooseBit, for one.

mod acceptable;
mod assignment;
mod attributes;
mod client;
mod ddi;
mod endpoint;
mod feedback;
mod ledger;
mod orders;
mod progress;
mod reply;
mod source;

pub use source::HawkbitSource;

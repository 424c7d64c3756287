//! Eclipse hawkBit: a server that assigns an update to each machine, through its Direct Device Integration (DDI)
//! API, version 1.
//!
//! [`ddi`] parses the server's answers, [`client`] speaks HTTP. [`follow`] derives from the machine's state what to
//! report, [`ledger`] keeps the messages in order on disk until the server has taken them. [`source`] joins these
//! to a source of updates, with the files of an assignment in [`offer`].

mod client;
mod ddi;
mod endpoint;
mod follow;
mod ledger;
mod message;
mod offer;
mod source;

pub use source::HawkbitSource;

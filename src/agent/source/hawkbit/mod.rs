//! Eclipse hawkBit: a server that assigns an update to each machine, through its Direct Device Integration (DDI)
//! API, version 1.
//!
//! [`ddi`] parses the server's answers, [`client`] speaks HTTP. [`progress`] derives from the machine's state what to
//! report, [`ledger`] keeps the feedback in order on disk until the server has accepted it. [`source`] is the
//! [`UpdateSource`](super::UpdateSource) made of these, and [`assignment`] the files of an assignment.

mod assignment;
mod client;
mod ddi;
mod endpoint;
mod feedback;
mod ledger;
mod progress;
mod source;

pub use source::HawkbitSource;

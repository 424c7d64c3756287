//! Events: each change of state of an update is published to the journal, to the message of the day, to
//! Prometheus, to a server and to the administrator's scripts.
//!
//! Nothing here decides anything. An event that cannot be published is logged and delays no decision.

mod bounded;
mod event;
mod hand_over;
mod metrics;
mod motd;
mod outbox;
pub mod outcome_scripts;
mod pending;
mod publish;

pub use bounded::run_bounded;
pub use event::{Event, EventKind};
pub use hand_over::{deliver_copies, hand_over, hand_over_refusal, take_back};
pub use metrics::write_metrics;
pub use pending::{deliver_pending, none_left, settle};
pub use publish::publish;

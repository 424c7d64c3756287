//! The life of one update: written, applied, committed, rolled back.

pub mod applied_by_other;
pub mod apply;
pub mod boot_options;
pub mod cancel;
pub mod commit;
pub mod floor;
pub mod forget;
pub mod phase;
pub mod prepare;
pub mod rearm;
pub mod refusal;
pub mod rollback;
pub mod root_hash;
pub mod staged;
pub mod standing;
pub mod startable;
pub mod status;
pub mod switch;
pub mod takeover;
pub mod trial;
pub mod unhealthy;
mod whole_machine;
pub mod write;

pub use whole_machine::WholeMachine;

//! The life of one update, as commands change it: written, applied, committed, rolled back.

pub mod apply;
pub mod commit;
pub mod every_boot;
pub mod firmware;
pub mod forget;
pub mod rearm;
pub mod rollback;
pub mod staged;
pub mod status;
pub mod switch;
pub mod write;

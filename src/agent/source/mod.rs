//! Where updates come from.

pub mod hawkbit;

//! Where images come from by themselves, and when they may be installed.
//!
//! All of it is pure: what was read goes in, with the time, and what is to be done comes out.

pub mod backoff;
pub mod catalog;
pub mod jitter;
pub mod policy;
pub mod published;
pub mod window;

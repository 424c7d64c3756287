//! Where images come from by themselves, and when they may be installed.
//!
//! What decides is pure: what was read goes in, with the time, and what is to be done comes out. Beside it
//! stands what looks at a feed ([`poll`]), keeps what was fetched ([`cache`]) and remembers ([`memory`]).

pub mod backoff;
pub mod cache;
pub mod catalog;
pub mod fleetlock;
pub mod hawkbit;
pub mod inhibit;
pub mod jitter;
pub mod memory;
pub mod policy;
pub mod poll;
pub mod published;
pub mod step;
pub mod window;

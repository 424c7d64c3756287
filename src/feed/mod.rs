//! What a feed offers, which release of it is wanted, and when it may be installed.
//!
//! The decisions are pure: [`catalog`], [`freshness`], [`policy`], [`rollout`], [`maintenance_window`], [`jitter`],
//! [`backoff`], [`attempts`], [`unusable`]. The rest are the reader of a feed ([`poll`]), the folder of what was fetched ([`cache`],
//! [`download`], [`frames`], [`frames_download`], [`request`]) and its owners ([`ownership`]), and what is remembered between two runs ([`memory`]).

pub mod attempts;
pub mod backoff;
pub mod cache;
pub mod carried;
pub mod catalog;
pub mod download;
pub mod frames;
pub mod frames_download;
pub mod freshness;
pub mod jitter;
pub mod maintenance_window;
pub mod memory;
pub mod ownership;
mod partial_file;
pub mod policy;
pub mod poll;
pub mod published;
pub mod request;
pub mod rollout;
pub mod unusable;

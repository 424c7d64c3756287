//! What the integration tests share.
#![allow(dead_code, unused_imports, missing_docs)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

pub mod https;
pub mod image;
pub mod scripted;
pub mod server;
pub mod skip;
pub mod tree;
pub mod uki;

pub use https::HttpsServer;
pub use image::Image;
pub use scripted::{Asked, Scripted};
pub use server::{Answer, Folder, serve};
pub use tree::{Run, Tree};
pub use uki::uki;

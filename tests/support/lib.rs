//! What the tests share: machines that are folders, images, servers, and programs that see nothing of the
//! caller's environment.
#![allow(missing_docs)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

pub mod background;
pub mod child_server;
pub mod ddi;
pub mod dice;
pub mod emt_node;
pub mod entry;
pub mod fleetlock;
pub mod goosebit;
pub mod gpt_disk;
pub mod hawkbit;
pub mod hostile;
pub mod https;
pub mod image;
pub mod process;
pub mod scripted;
pub mod secure_boot;
pub mod server;
pub mod skip;
pub mod tree;
pub mod uki;
pub mod validation;

pub use background::Background;
pub use https::HttpsServer;
pub use image::Image;
pub use process::{Run, abide, program};
pub use scripted::{Asked, Scripted};
pub use server::{Answer, Folder, serve};
pub use tree::{Tree, utf16};
pub use uki::uki;

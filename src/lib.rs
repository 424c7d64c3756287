//! Abide keeps image-based Linux machines on systemd-boot bootable through every update.
//!
//! The crate is a house of floors; each imports only from those below it:
//! `cli` → `stage`, `doctor` → `announce` → `update` → `health`, `feed` → `state` → `boot`, `image` → `disk`
//! → `config`.

#[cfg(feature = "full")]
pub mod announce;
pub mod boot;
#[cfg(feature = "full")]
pub mod cli;
#[cfg(not(feature = "full"))]
#[path = "cli_initramfs.rs"]
pub mod cli;
pub mod config;
pub mod disk;
#[cfg(feature = "full")]
pub mod doctor;
pub mod error;
#[cfg(feature = "full")]
pub mod feed;
pub mod files;
pub mod health;
pub mod hex;
#[cfg(feature = "full")]
pub mod http;
#[cfg(feature = "full")]
pub mod image;
pub mod logger;
#[cfg(feature = "full")]
pub mod machine_id;
pub mod pattern;
pub mod root;
#[cfg(feature = "full")]
pub mod secret;
pub mod stage;
pub mod state;
pub mod sys;
#[cfg(feature = "full")]
pub mod tls;
pub mod update;

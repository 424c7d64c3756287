//! Abide keeps image-based Linux machines on systemd-boot bootable through every update.
//!
//! This crate is the product; it stands on `abide_core`, which knows what a boot is and how a trial is
//! given up. Its layers, each of which imports only from those after it: `cli` → `assess`, `agent` →
//! `events`, `doctor` → `update` → `health`, `feed` → `image` → `systemd`, `boot`, `disk` → `config`.

// A closed pipe must not stop a command: see `cli::output`.
#![deny(clippy::print_stdout)]

pub mod agent;
pub mod assess;
pub mod boot;
pub mod cli;
pub mod config;
pub mod delta;
pub mod disk;
pub mod doctor;
pub mod events;
pub mod feed;
pub mod files;
pub mod health;
pub mod http;
pub mod image;
pub mod machine_id;
pub mod proxy;
pub mod publish;
pub mod secret;
pub mod systemd;
pub mod tls;
pub mod update;
pub mod uptime;
pub mod url;
pub mod web_page;
pub mod without_initramfs;

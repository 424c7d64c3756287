//! What a boot is, and how a trial is given up: the layers that both of Abide's executables need.
//!
//! From the lowest up, each importing only from those before it: `error`, `arch`, `hex`, `sys`, `root`,
//! `mounts`, `logger` → `config` → `disk` → `boot` → `state` → `update`.

pub mod arch;
pub mod boot;
pub mod config;
pub mod disk;
pub mod error;
pub mod hex;
pub mod logger;
pub mod mounts;
pub mod root;
pub mod state;
pub mod sys;
pub mod text;
pub mod update;

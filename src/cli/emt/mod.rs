//! A drop-in replacement for the update tools of Intel's Edge Microvisor Toolkit (EMT): called by their
//! names, Abide takes their flags and works on their disks.
//!
//! Source of the interface: `os-update-tool.sh` 2.9 and `os-update.sh` of EMT's standalone node.

mod dispatch;
mod support;
mod tool;
mod update;

pub use dispatch::main;

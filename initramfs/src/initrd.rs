//! The initramfs stage and its parts.
//!
//! A committed boot is never stopped from here: errors are logged, and the boot continues. On a trial
//! the exit code counts; the units reboot on it.

use std::str::FromStr;

use abide_core::error::Result;
use abide_core::root::Root;

use crate::{blind, early, emergency, new_root};

/// The parts of the stage, in the order in which they run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Before the ESP is there: a boot that the loader counted must be able to end by itself.
    Guard,
    /// As soon as the ESP is there: what is this boot?
    Early,
    /// After the root is mounted: verify that it is the staged one.
    Root,
    /// The initramfs cannot continue: record the reason.
    Emergency,
}

impl FromStr for Part {
    type Err = String;

    fn from_str(word: &str) -> std::result::Result<Self, String> {
        match word {
            "guard" => Ok(Self::Guard),
            "early" => Ok(Self::Early),
            "root" => Ok(Self::Root),
            "emergency" => Ok(Self::Emergency),
            _ => Err(format!(
                "'{word}' is not a part of the initramfs stage; use guard, early, root or emergency"
            )),
        }
    }
}

/// Runs a part of the stage.
///
/// # Errors
/// Only on a trial that must not continue; the machine then reboots.
pub fn run(root: &Root, part: Part) -> Result<()> {
    match part {
        Part::Guard => blind::guard(root),
        Part::Early => early::early(root),
        Part::Root => new_root::root(root),
        Part::Emergency => emergency::emergency(root),
    }
}

//! The configuration as files and trees, and the part of it that a boot needs.
//!
//! Files are read into trees ([`tree`]) in which each value remembers where it was written, the
//! trees are merged by a pure function, and what comes out is read once, by a reader that knows
//! exactly the keys that are asked for ([`section`]). So an unknown key is an error with a place.

pub mod assess;
pub mod duration;
pub mod files;
pub mod section;
pub mod size;
pub mod slots;
pub mod tree;

use std::fs;
use std::path::Path;

pub use assess::{Assess, OnFailure};
pub use slots::SlotLabels;

use crate::error::{Error, OrError, Result};
use crate::root::Root;
use section::Section;
use tree::Tree;

/// What the stages of a boot go by, with the defaults filled in.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BootConfig {
    /// `[assess]`: how long a new system is tried, and what happens if it fails.
    pub assess: Assess,
    /// `[slots]`: the partition labels of the two roots; `None` leaves finding them to Abide.
    pub slots: Option<SlotLabels>,
}

impl BootConfig {
    /// Reads `[assess]` and `[slots]` from the configuration of `root` and does not look at other keys: a
    /// boot must not end because a check is misspelt.
    ///
    /// # Errors
    /// [`Error::Usage`] for a file that cannot be read or understood, with file and line.
    pub fn load(root: &Root) -> Result<Self> {
        Self::read(&mut Section::top(&load_tree(root, None)?))
    }

    /// Reads the two tables of `top`.
    ///
    /// # Errors
    /// As [`BootConfig::load`].
    pub fn read(top: &mut Section<'_>) -> Result<Self> {
        Ok(Self {
            assess: top.table("assess", Assess::read)?,
            slots: top.optional_table("slots", SlotLabels::read)?,
        })
    }
}

/// The merged tree of all configuration files, each value with its origin. `main` replaces both main
/// files, not the fragments; it is a path as the user typed it and is not looked up below `root`.
///
/// # Errors
/// As [`BootConfig::load`].
pub fn load_tree(root: &Root, main: Option<&Path>) -> Result<Tree> {
    let mut merged = Tree::default();
    for file in files::find(root, main)? {
        let name = file.display().to_string();
        let text = fs::read(&file).or_usage(|| format!("{name}: cannot read the configuration"))?;
        let text = String::from_utf8(text)
            .map_err(|_| Error::Usage(format!("{name}: not UTF-8; TOML must be saved as UTF-8")))?;
        merged.merge(Tree::parse(&name, &text)?);
    }
    Ok(merged)
}

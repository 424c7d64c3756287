//! The configuration as files and trees, and the part of it that a boot needs.
//!
//! Files are read into trees ([`tree`]) whose values keep the file and line that they come from. A pure function
//! merges the trees, and the tables of settings ([`table`]) read the result. So an unknown key is an error with a
//! place.

pub mod assess;
pub mod duration;
pub mod files;
pub mod form;
pub mod section;
pub mod slots;
pub mod table;
pub mod tree;

use std::fs;
use std::path::Path;

pub use assess::{Assess, OnFailure, assess_table};
pub use slots::{SlotLabels, slots_table};

use crate::error::{Error, OrError, Result};
use crate::root::Root;
use form::{Optional, Sub};
use section::{Section, Settings};
use table::settings;
use tree::Tree;

/// Gives the tables that a boot needs to the macro `of`, as [`assess_table!`](crate::assess_table) does.
#[macro_export]
macro_rules! boot_tables {
    ($of:ident) => {
        $of! {
            /// What the stages of a boot need, with the defaults filled in.
            #[derive(Debug, Clone, PartialEq, Eq)]
            pub struct BootConfig {
                /// How long a new system is tried, and what happens if it fails.
                pub assess: Sub<Assess> = Assess::default();
                /// The partition labels of the two roots, where Abide does not find them by itself.
                pub slots: Optional<Sub<SlotLabels>> = None;
            }
        }
    };
}

pub use boot_tables;

boot_tables!(settings);

impl BootConfig {
    /// Reads `[assess]` and `[slots]` from the configuration of `root` and ignores other keys: a boot
    /// must not fail because a check is misspelt.
    ///
    /// # Errors
    /// [`Error::Usage`] for a file that cannot be read or understood, with file and line.
    pub fn load(root: &Root) -> Result<Self> {
        Self::read(&mut Section::top(&load_tree(root, None)?))
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

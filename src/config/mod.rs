//! The configuration: found, read, merged, resolved.
//!
//! Files are read into trees ([`tree`]) in which each value remembers where it was written, the
//! trees are merged by a pure function, and what comes out is read once, by a reader that knows
//! exactly the keys that are asked for ([`section`]). So an unknown key is an error with a place.

pub mod assess;
#[cfg(feature = "full")]
pub mod check;
#[cfg(feature = "full")]
pub mod download;
pub mod duration;
pub mod files;
#[cfg(feature = "full")]
pub mod kinds;
#[cfg(feature = "full")]
pub mod report;
#[cfg(feature = "full")]
pub mod scripts;
pub mod section;
#[cfg(feature = "full")]
pub mod show;
#[cfg(feature = "full")]
pub mod size;
pub mod slots;
pub mod tree;
#[cfg(feature = "full")]
pub mod trust;
#[cfg(feature = "full")]
pub mod update;
#[cfg(feature = "full")]
pub mod write;

use std::fs;
use std::path::Path;

pub use assess::{Assess, OnFailure};
#[cfg(feature = "full")]
pub use check::{CheckConfig, CheckKind};
#[cfg(feature = "full")]
pub use download::Download;
#[cfg(feature = "full")]
pub use report::ReportTo;
#[cfg(feature = "full")]
pub use scripts::Scripts;
pub use slots::SlotLabels;
#[cfg(feature = "full")]
pub use trust::{Policy, Trust};
#[cfg(feature = "full")]
pub use update::Update;
#[cfg(feature = "full")]
pub use write::{Lacking, WriteRules};

use crate::error::{Error, OrError, Result};
use crate::root::Root;
use section::Section;
use tree::Tree;

/// Everything that can be configured, with the defaults filled in.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// `[assess]`: how long a new system is tried, and what happens if it fails.
    pub assess: Assess,
    /// `[[check]]`, in the order written; without any, the one check of kind `system`.
    #[cfg(feature = "full")]
    pub checks: Vec<CheckConfig>,
    /// `[download]`: how images are fetched.
    #[cfg(feature = "full")]
    pub download: Download,
    /// `[report]`: who is told what happens.
    #[cfg(feature = "full")]
    pub report: ReportTo,
    /// `[scripts]`: folders of scripts, as greenboot has them.
    #[cfg(feature = "full")]
    pub scripts: Scripts,
    /// `[slots]`: the partition labels of the two roots; `None` leaves finding them to Abide.
    pub slots: Option<SlotLabels>,
    /// `[trust]`: what an image must be vouched for by.
    #[cfg(feature = "full")]
    pub trust: Trust,
    /// `[update]`: what the machine follows by itself, and when.
    #[cfg(feature = "full")]
    pub update: Update,
    /// `[write]`: which images are written.
    #[cfg(feature = "full")]
    pub write: WriteRules,
}

impl Default for Config {
    /// What is in force where nothing is configured.
    fn default() -> Self {
        Self {
            assess: Assess::default(),
            #[cfg(feature = "full")]
            checks: vec![CheckConfig::default()],
            #[cfg(feature = "full")]
            download: Download::default(),
            #[cfg(feature = "full")]
            report: ReportTo::default(),
            #[cfg(feature = "full")]
            scripts: Scripts::default(),
            slots: None,
            #[cfg(feature = "full")]
            trust: Trust::default(),
            #[cfg(feature = "full")]
            update: Update::default(),
            #[cfg(feature = "full")]
            write: WriteRules::default(),
        }
    }
}

impl Config {
    /// Reads the configuration of `root`. `main` replaces both main files, not the fragments;
    /// it is a path as the user typed it and is not looked up below `root`.
    ///
    /// The initramfs build reads `[assess]` and `[slots]` only and does not look at other keys:
    /// a boot must not end there because a check is misspelt.
    ///
    /// # Errors
    /// [`Error::Usage`] for a file that cannot be read or understood, with file and line.
    pub fn load(root: &Root, main: Option<&Path>) -> Result<Self> {
        #[allow(unused_mut, reason = "the initramfs build looks up no time zones")]
        let mut config = Self::from_tree(&load_tree(root, main)?)?;
        #[cfg(feature = "full")]
        config.update.use_zoneinfo(root);
        Ok(config)
    }

    /// Resolves one file's text; `name` is how errors call it.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn parse(name: &str, text: &str) -> Result<Self> {
        Self::from_tree(&Tree::parse(name, text)?)
    }

    fn from_tree(tree: &Tree) -> Result<Self> {
        let mut top = Section::top(tree);
        let assess = top.table("assess", Assess::read)?;
        let config = Self {
            #[cfg(feature = "full")]
            checks: check::read_all(&mut top)?,
            #[cfg(feature = "full")]
            download: top.table("download", Download::read)?,
            #[cfg(feature = "full")]
            report: top.table("report", ReportTo::read)?,
            #[cfg(feature = "full")]
            scripts: top.table("scripts", Scripts::read)?,
            slots: top.optional_table("slots", SlotLabels::read)?,
            #[cfg(feature = "full")]
            trust: top.table("trust", Trust::read)?,
            #[cfg(feature = "full")]
            update: top.table("update", |update| Update::read(update, &assess))?,
            #[cfg(feature = "full")]
            write: top.table("write", WriteRules::read)?,
            assess,
        };
        #[cfg(feature = "full")]
        {
            top.finish()?;
            for check in &config.checks {
                check.fits(&config.assess)?;
            }
        }
        Ok(config)
    }
}

/// The merged tree of all configuration files, each value with its origin.
///
/// # Errors
/// As [`Config::load`].
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

#[cfg(all(test, feature = "full"))]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn no_configuration_is_the_default_configuration() {
        assert_eq!(Config::parse("f", "").unwrap(), Config::default());
    }

    #[test]
    fn an_unknown_table_is_refused() {
        let error = Config::parse("f", "[asess]\ntries = 3\n").unwrap_err();
        assert_eq!(error.to_string(), "f:1: unknown key 'asess'; did you mean 'assess'?");
    }
}

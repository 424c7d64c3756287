//! The whole configuration, with the defaults filled in.

pub mod check;
pub mod download;
pub mod events;
pub mod kinds;
pub mod scripts;
pub mod show;
pub mod trust;
pub mod update;
pub mod write;

use std::path::Path;

pub use check::{CheckConfig, CheckKind};
pub use download::Download;
pub use events::EventTargets;
pub use scripts::Scripts;
pub use trust::{Policy, Trust};
pub use update::Update;
pub use write::{Lacking, WriteRules};

use abide_core::config::section::Section;
use abide_core::config::tree::Tree;
use abide_core::config::{Assess, BootConfig, SlotLabels, load_tree};
use abide_core::error::Result;
use abide_core::root::Root;

/// Everything that can be configured, with the defaults filled in.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// `[assess]`: how long a new system is tried, and what happens if it fails.
    pub assess: Assess,
    /// `[[check]]`, in the order written; without any, the one check of kind `system`.
    pub checks: Vec<CheckConfig>,
    /// `[download]`: how images are fetched.
    pub download: Download,
    /// `[report]`: where events are sent.
    pub events: EventTargets,
    /// `[scripts]`: folders of scripts, as greenboot has them.
    pub scripts: Scripts,
    /// `[slots]`: the partition labels of the two roots; `None` leaves finding them to Abide.
    pub slots: Option<SlotLabels>,
    /// `[trust]`: what an image must be vouched for by.
    pub trust: Trust,
    /// `[update]`: what the machine follows by itself, and when.
    pub update: Update,
    /// `[write]`: which images are written.
    pub write: WriteRules,
}

impl Default for Config {
    /// What is in force where nothing is configured.
    fn default() -> Self {
        Self {
            assess: Assess::default(),
            checks: vec![CheckConfig::default()],
            download: Download::default(),
            events: EventTargets::default(),
            scripts: Scripts::default(),
            slots: None,
            trust: Trust::default(),
            update: Update::default(),
            write: WriteRules::default(),
        }
    }
}

impl Config {
    /// Reads the configuration of `root`. `main` replaces both main files, not the fragments;
    /// it is a path as the user typed it and is not looked up below `root`.
    ///
    /// # Errors
    /// [`Error::Usage`] for a file that cannot be read or understood, with file and line.
    pub fn load(root: &Root, main: Option<&Path>) -> Result<Self> {
        let mut config = Self::from_tree(&load_tree(root, main)?)?;
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
        let BootConfig { assess, slots } = BootConfig::read(&mut top)?;
        let config = Self {
            checks: check::read_all(&mut top)?,
            download: top.table("download", Download::read)?,
            events: top.table("report", EventTargets::read)?,
            scripts: top.table("scripts", Scripts::read)?,
            slots,
            trust: top.table("trust", Trust::read)?,
            update: top.table("update", |update| Update::read(update, &assess))?,
            write: top.table("write", WriteRules::read)?,
            assess,
        };
        top.finish()?;
        for check in &config.checks {
            check.fits(&config.assess)?;
        }
        Ok(config)
    }
}

#[cfg(test)]
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

//! The whole configuration, with the defaults filled in.

mod boot;
pub mod check;
pub mod described;
pub mod download;
pub mod emt;
pub mod events;
pub mod forms;
pub mod kinds;
#[cfg(test)]
mod reference_tests;
pub mod scripts;
pub mod setting;
pub mod show;
mod size;
pub mod table;
pub mod trust;
pub mod update;
pub mod write;

use std::path::Path;

pub use check::CheckConfig;
pub use download::Download;
pub use emt::{CommitOn, Emt};
pub use events::EventTargets;
pub use kinds::CheckKind;
pub use scripts::Scripts;
pub use trust::{Trust, TrustPolicy};
pub use update::Update;
pub use write::{OnMissing, WriteRules};

use abide_core::config::form::Sub;
use abide_core::config::section::{Section, Settings};
use abide_core::config::tree::Tree;
use abide_core::config::{Assess, BootConfig, SlotLabels, load_tree};
use abide_core::error::Result;
use abide_core::root::Root;

use check::{Checks, WrittenCheck};
use table::settings;

settings! {
    /// The tables of the configuration that are not in [`BootConfig`].
    #[derive(Debug, Clone, PartialEq)]
    struct ProductConfig {
        /// The health checks.
        checks as "check": Checks = vec![WrittenCheck::default()];
        /// How images are fetched from web servers.
        download: Sub<Download> = Download::default();
        /// How Abide answers when it is called as a tool of Intel's Edge Microvisor Toolkit.
        emt: Sub<Emt> = Emt::default();
        /// Where events are sent in addition to the journal.
        events as "report": Sub<EventTargets> = EventTargets::default();
        /// Folders of scripts that check a system, or run after the decision.
        scripts: Sub<Scripts> = Scripts::default();
        /// How images are verified.
        trust: Sub<Trust> = Trust::default();
        /// Which updates the machine installs by itself, and when.
        update: Sub<Update> = Update::default();
        /// Which images are written.
        write: Sub<WriteRules> = WriteRules::default();
    }
}

/// Everything that can be configured, with the defaults filled in.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// `[assess]`: how long a new system is tried, and what happens if it fails.
    pub assess: Assess,
    /// `[[check]]`, in the order written; without any, the one check of kind `system`.
    pub checks: Vec<CheckConfig>,
    /// `[download]`: how images are fetched.
    pub download: Download,
    /// `[emt]`: how calls of EMT's tools are answered.
    pub emt: Emt,
    /// `[report]`: where events are sent.
    pub events: EventTargets,
    /// `[scripts]`: folders of scripts, as greenboot has them.
    pub scripts: Scripts,
    /// `[slots]`: the partition labels of the two roots; `None`: Abide finds them.
    pub slots: Option<SlotLabels>,
    /// `[trust]`: how an image must be verified.
    pub trust: Trust,
    /// `[update]`: which updates the machine installs by itself, and when.
    pub update: Update,
    /// `[write]`: which images are written.
    pub write: WriteRules,
}

impl Default for Config {
    /// The configuration in force if nothing is configured.
    fn default() -> Self {
        Self::of(BootConfig::default(), ProductConfig::default())
    }
}

impl Config {
    /// Reads the configuration of `root`. `main` replaces both main files, not the fragments;
    /// it is a path as the user typed it and is not looked up below `root`.
    ///
    /// # Errors
    /// [`abide_core::error::Error::Usage`] for a file that cannot be read or understood, with file and line.
    pub fn load(root: &Root, main: Option<&Path>) -> Result<Self> {
        let mut config = Self::from_tree(&load_tree(root, main)?)?;
        config.update.use_zoneinfo(root);
        config.download.ca = config.download.ca.map(|ca| root.path(ca));
        Ok(config)
    }

    /// Reads the text of one file; `name` is its name in errors.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn parse(name: &str, text: &str) -> Result<Self> {
        Self::from_tree(&Tree::parse(name, text)?)
    }

    fn from_tree(tree: &Tree) -> Result<Self> {
        let (boot, tables) = read(tree)?;
        tables.update.has_room(tree, &boot.assess)?;
        let config = Self::of(boot, tables);
        for check in &config.checks {
            check.fits(&config.assess)?;
        }
        Ok(config)
    }

    fn of(boot: BootConfig, tables: ProductConfig) -> Self {
        let BootConfig { assess, slots } = boot;
        let ProductConfig { checks, download, emt, events, scripts, trust, update, write } = tables;
        let checks = checks.into_iter().filter_map(WrittenCheck::enabled).collect();
        Self { assess, checks, download, emt, events, scripts, slots, trust, update, write }
    }
}

/// The tables of the configuration.
fn read(tree: &Tree) -> Result<(BootConfig, ProductConfig)> {
    let mut top = Section::top(tree);
    let tables = (BootConfig::read(&mut top)?, ProductConfig::read(&mut top)?);
    top.finish()?;
    Ok(tables)
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

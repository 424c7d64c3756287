//! What every command is given.

use std::path::PathBuf;

use crate::boot::Access;
use crate::config::Config;
use crate::error::Result;
use crate::root::Root;
use crate::update::Machine;
use crate::update::step::perform_all;

/// The tree to work on and where its configuration is.
#[derive(Debug)]
pub struct Context {
    /// The running system, or the folder of `--root`.
    pub root: Root,
    /// The file of `--config`.
    pub config: Option<PathBuf>,
}

impl Context {
    /// Reads the configuration.
    ///
    /// # Errors
    /// [`crate::error::Error::Usage`] if it is wrong.
    pub fn load_config(&self) -> Result<Config> {
        Config::load(&self.root, self.config.as_deref())
    }

    /// Surveys the machine to look at it.
    ///
    /// # Errors
    /// As [`Machine::survey`].
    pub fn look(&self, config: &Config) -> Result<Machine> {
        Machine::survey(&self.root, config, Access::Read)
    }

    /// Surveys the machine to change it, and brings in line what was left half
    /// done. The caller holds the lock.
    ///
    /// # Errors
    /// As [`Machine::survey`], and [`crate::error::Error::Boot`] if the ESP cannot be changed.
    pub fn change(&self, config: &Config) -> Result<Machine> {
        let mut machine = Machine::survey(&self.root, config, Access::Write)?;
        let finding = machine.reconcile();
        perform_all(&mut machine, &finding.steps)?;
        Ok(machine)
    }
}

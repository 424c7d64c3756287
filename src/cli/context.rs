//! What every command needs.

use std::path::PathBuf;

use crate::config::Config;
use crate::update::WholeMachine;
use abide_core::boot::Access;
use abide_core::error::{Error, Result};
use abide_core::root::Root;
use abide_core::update::Machine;

/// The tree to work on, and its configuration file.
#[derive(Debug)]
pub struct Context {
    /// The running system, or the folder of `--root`.
    pub root: Root,
    /// The file given with `--config`.
    pub config: Option<PathBuf>,
}

/// The tree below `dir`, which may be relative to the working folder; none: the running system. Programs of the tree run in
/// another folder, and files of it are opened by other threads and processes, so that the path must be absolute.
///
/// # Errors
/// [`Error::Usage`] if `dir` is empty, or the working folder is gone.
pub fn root_at(dir: Option<PathBuf>) -> Result<Root> {
    let Some(dir) = dir else { return Ok(Root::live()) };
    let absolute = std::path::absolute(&dir).map_err(|e| {
        Error::Usage(format!(
            "--root '{}': {e}; give the path of a folder, such as /tmp/machine",
            dir.display()
        ))
    });
    absolute.map(Root::at)
}

impl Context {
    /// Reads the configuration.
    ///
    /// # Errors
    /// [`abide_core::error::Error::Usage`] if it is wrong.
    pub fn load_config(&self) -> Result<Config> {
        Config::load(&self.root, self.config.as_deref())
    }

    /// Surveys the machine to read from it.
    ///
    /// # Errors
    /// As [`Machine::read`].
    pub fn look(&self, config: &Config) -> Result<Machine> {
        Machine::read(&self.root, config.slots.as_ref(), Access::Read)
    }

    /// Surveys the machine to change it, and finishes or undoes what was interrupted. The caller holds
    /// the lock.
    ///
    /// # Errors
    /// As [`Machine::open_to_change`].
    pub fn change(&self, config: &Config) -> Result<Machine> {
        Machine::open_to_change(&self.root, config.slots.as_ref())
    }
}

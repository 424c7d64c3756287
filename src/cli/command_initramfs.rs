//! The one command of the initramfs executable.

use clap::Subcommand;

use super::{Context, initrd};
use crate::error::Result;

#[derive(Debug, Subcommand)]
pub enum Command {
    /// The initramfs stage
    Initrd(initrd::Args),
}

impl Command {
    /// Does what was asked.
    ///
    /// # Errors
    /// As the command.
    pub fn run(&self, context: &Context) -> Result<()> {
        match self {
            Self::Initrd(args) => initrd::run(context, args),
        }
    }
}

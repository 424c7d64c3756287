//! The commands of the full executable.

use clap::Subcommand;

use crate::cli::{
    Context, apply, assess, check, commit, config, confirm, doctor, forget, initrd, list, report, rollback,
    status, update, write,
};
use abide_core::error::Result;

#[derive(Debug, Subcommand)]
pub enum Command {
    /// What runs, what each slot holds, the update in flight, what failed and why
    Status(status::Args),
    /// The boot entries in the order the loader would try them, and which boots next
    List(list::Args),
    /// Write an image into the other slot and verify it; nothing boots it yet
    Write(write::Args),
    /// Make the staged update boot next, on trial
    Apply(apply::Args),
    /// Follow the feed: find, fetch, write, apply and reboot, as far as it is time for that
    Update(update::Args),
    /// Keep the running trial
    Commit(commit::Args),
    /// Give up the running trial, or go back to the other slot's good system
    Rollback(rollback::Args),
    /// Drop a failure record, so that the image may be tried again
    Forget(forget::Args),
    /// Run the health checks once, show each result, decide nothing
    Check(check::Args),
    /// Find what would keep an update or a rollback from working, each with what to do
    Doctor(doctor::Args),
    /// Show what is configured, and where each value comes from
    Config(config::Args),
    /// Say that the system on trial is well: the answer that a check of kind confirm waits for
    Confirm(confirm::ConfirmArgs),
    /// Say that it is not
    Deny(confirm::DenyArgs),
    /// Assess the system on trial; for its units
    #[command(hide = true)]
    Assess(assess::Args),
    /// Tell what is left to be told; for its unit
    #[command(hide = true)]
    Report(report::Args),
    /// The initramfs stage; for its units
    #[command(hide = true)]
    Initrd(initrd::Args),
}

impl Command {
    /// Does what was asked.
    ///
    /// # Errors
    /// As the command.
    pub fn run(&self, context: &Context) -> Result<()> {
        match self {
            Self::Status(args) => status::run(context, args),
            Self::List(args) => list::run(context, args),
            Self::Write(args) => write::run(context, args),
            Self::Apply(args) => apply::run(context, args),
            Self::Update(args) => update::run(context, args),
            Self::Commit(args) => commit::run(context, args),
            Self::Rollback(args) => rollback::run(context, args),
            Self::Forget(args) => forget::run(context, args),
            Self::Check(args) => check::run(context, args),
            Self::Doctor(args) => doctor::run(context, args),
            Self::Config(args) => config::run(context, args),
            Self::Confirm(args) => confirm::confirm(context, args),
            Self::Deny(args) => confirm::deny(context, args),
            Self::Assess(args) => assess::run(context, args),
            Self::Report(args) => report::run(context, args),
            Self::Initrd(args) => initrd::run(context, args),
        }
    }
}

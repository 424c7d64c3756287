//! The commands of the full executable.

use clap::Subcommand;

use crate::cli::{
    Context, apply, assess, cancel, check, commit, config, confirm, doctor, forget, history, initrd, list,
    publish, report, rollback, status, update, write,
};
use abide_core::error::Result;

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show what runs, what each slot holds, the update in flight, what failed and why
    Status(status::Args),
    /// Show the boot entries in the loader's order, which of them boots next, and why
    List(list::Args),
    /// Write an image into the other slot and verify it; it is not bootable yet
    Write(write::Args),
    /// Make the staged update boot next, on trial
    Apply(apply::Args),
    /// Cancel a staged or applied update that is not running
    Cancel(cancel::Args),
    /// Show what happened on this machine: its last updates, with each boot of their trials
    History(history::Args),
    /// Install updates from the feed, as policy and maintenance windows allow
    Update(update::Args),
    /// Commit the system on trial
    Commit(commit::Args),
    /// End the running trial, or put the good system in the other slot on trial
    Rollback(rollback::Args),
    /// Delete a failure record, so that the image may be tried again
    Forget(forget::Args),
    /// Run the health checks once and show the results
    Check(check::Args),
    /// Find problems that would prevent an update or a rollback, each with its remedy
    Doctor(doctor::Args),
    /// Make the files of a release that let machines fetch only what differs
    Publish(publish::Args),
    /// Show the configuration in force, and where each value comes from
    Config(config::Args),
    /// Confirm that the system on trial is healthy, for a check of kind confirm
    Confirm(confirm::ConfirmArgs),
    /// Declare that the system on trial is not healthy, for a check of kind confirm
    Deny(confirm::DenyArgs),
    /// Assess the system on trial; used by its units
    #[command(hide = true)]
    Assess(assess::Args),
    /// Deliver the pending events; used by its unit
    #[command(hide = true)]
    Report(report::Args),
    /// Run the initramfs stage; used by its units
    #[command(hide = true)]
    Initrd(initrd::Args),
}

impl Command {
    /// Runs the command.
    ///
    /// # Errors
    /// Those of the command.
    pub fn run(&self, context: &Context) -> Result<()> {
        match self {
            Self::Status(args) => status::run(context, args),
            Self::List(args) => list::run(context, args),
            Self::History(args) => history::run(context, args),
            Self::Write(args) => write::run(context, args),
            Self::Apply(args) => apply::run(context, args),
            Self::Cancel(args) => cancel::run(context, args),
            Self::Update(args) => update::run(context, args),
            Self::Commit(args) => commit::run(context, args),
            Self::Rollback(args) => rollback::run(context, args),
            Self::Forget(args) => forget::run(context, args),
            Self::Check(args) => check::run(context, args),
            Self::Doctor(args) => doctor::run(context, args),
            Self::Publish(args) => publish::run(context, args),
            Self::Config(args) => config::run(context, args),
            Self::Confirm(args) => confirm::confirm(context, args),
            Self::Deny(args) => confirm::deny(context, args),
            Self::Assess(args) => assess::run(context, args),
            Self::Report(args) => report::run(context, args),
            Self::Initrd(args) => initrd::run(context, args),
        }
    }
}

//! Words in, words out: one file per command.

mod apply;
#[cfg(feature = "full")]
mod assess;
#[cfg(feature = "full")]
mod check;
mod commit;
mod context;
mod forget;
mod initrd;
mod logger;
mod rollback;
mod status;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::error::{Error, Result};
use crate::root::Root;

pub use context::Context;

/// Keeps image-based Linux machines on systemd-boot bootable through every update.
#[derive(Debug, Parser)]
#[command(name = "abide", version, max_term_width = 80)]
struct Cli {
    /// Work on the tree below DIR instead of the running system (also: ABIDE_ROOT)
    #[arg(long, global = true, value_name = "DIR")]
    root: Option<PathBuf>,
    /// Read this file instead of /etc/abide/abide.toml
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Say more; twice for everything
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    verbose: u8,
    /// Say nothing but errors
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    quiet: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// What runs, what each slot holds, the update in flight, what failed and why
    Status(status::Args),
    /// Make the staged update boot next, on trial
    Apply(apply::Args),
    /// Keep the running trial
    Commit(commit::Args),
    /// Give up the running trial, or go back to the other slot's good system
    Rollback(rollback::Args),
    /// Drop a failure record, so that the image may be tried again
    Forget(forget::Args),
    /// Run the health checks once, show each result, decide nothing
    #[cfg(feature = "full")]
    Check(check::Args),
    /// Assess the system on trial; for its units
    #[cfg(feature = "full")]
    #[command(hide = true)]
    Assess(assess::Args),
    /// The initramfs stage; for its units
    #[command(hide = true)]
    Initrd(initrd::Args),
}

impl Command {
    fn run(&self, context: &Context) -> Result<()> {
        match self {
            Self::Status(args) => status::run(context, args),
            Self::Apply(args) => apply::run(context, args),
            Self::Commit(args) => commit::run(context, args),
            Self::Rollback(args) => rollback::run(context, args),
            Self::Forget(args) => forget::run(context, args),
            #[cfg(feature = "full")]
            Self::Check(args) => check::run(context, args),
            #[cfg(feature = "full")]
            Self::Assess(args) => assess::run(context, args),
            Self::Initrd(args) => initrd::run(context, args),
        }
    }
}

/// Parses the command line, runs the command and turns its result into an exit code.
#[must_use]
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(e) => return usage(&e),
    };
    logger::start(cli.verbose, cli.quiet);
    let root =
        cli.root.or_else(|| std::env::var_os("ABIDE_ROOT").filter(|r| !r.is_empty()).map(PathBuf::from));
    let context = Context { root: root.map_or_else(Root::live, Root::at), config: cli.config };
    match cli.command.run(&context) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            logger::error(&e);
            ExitCode::from(e.exit_code())
        }
    }
}

/// Help and version go to stdout and are a success; a mistake is one of usage.
fn usage(e: &clap::Error) -> ExitCode {
    if e.print().is_err() {
        return ExitCode::FAILURE;
    }
    if e.use_stderr() { ExitCode::from(Error::Usage(String::new()).exit_code()) } else { ExitCode::SUCCESS }
}

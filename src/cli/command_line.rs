//! The command line: options, dispatch, exit code.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

use abide_core::error::Error;
use abide_core::logger;

use crate::cli::command::Command;
use crate::cli::context::{Context, root_at};
use crate::cli::{emt, generator, output};

/// Updates image-based Linux machines with systemd-boot, and keeps them bootable.
#[derive(Debug, Parser)]
#[command(name = "abide", version, max_term_width = 80)]
struct Cli {
    /// Work on the tree below DIR instead of the running system (also: ABIDE_ROOT)
    #[arg(long, global = true, value_name = "DIR")]
    root: Option<PathBuf>,
    /// Read this file instead of abide.toml in /usr/lib/abide and /etc/abide
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Increase verbosity (-vv: debug)
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    verbose: u8,
    /// Show errors only
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    quiet: bool,
    #[command(subcommand)]
    command: Command,
}

/// Parses the command line, runs the command and turns its result into an exit code.
#[must_use]
pub fn main() -> ExitCode {
    let args: Vec<_> = std::env::args_os().collect();
    if let Some(code) = generator::main(&args).or_else(|| emt::main(&args)) {
        return code;
    }
    let is_json = args.iter().any(|arg| arg == "--json");
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(e) => return usage(&e, is_json),
    };
    logger::start(cli.verbose, cli.quiet);
    let root =
        cli.root.or_else(|| std::env::var_os("ABIDE_ROOT").filter(|r| !r.is_empty()).map(PathBuf::from));
    let context = root_at(root).map(|root| Context { root, config: cli.config });
    match context.and_then(|context| cli.command.run(&context)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            logger::error(&e);
            if is_json {
                output::show_error(e.exit_code(), &e.to_string());
            }
            ExitCode::from(e.exit_code())
        }
    }
}

/// Help and version go to stdout and succeed; anything else is an error of usage.
fn usage(e: &clap::Error, is_json: bool) -> ExitCode {
    if e.print().is_err() {
        return ExitCode::FAILURE;
    }
    if !e.use_stderr() {
        return ExitCode::SUCCESS;
    }
    let code = Error::Usage(String::new()).exit_code();
    if is_json {
        // The first line names the problem; the others show the usage.
        let text = e.to_string();
        output::show_error(code, text.lines().next().unwrap_or_default().trim_start_matches("error: "));
    }
    ExitCode::from(code)
}

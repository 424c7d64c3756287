//! The command line: options, dispatch, exit code.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser};

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
    // Also where it has a value, which it does not take.
    let is_json = args.iter().any(|arg| arg == "--json" || arg.to_string_lossy().starts_with("--json="));
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(e) => return usage(&e, &args, is_json),
    };
    logger::start(cli.verbose, cli.quiet);
    let root =
        cli.root.or_else(|| std::env::var_os("ABIDE_ROOT").filter(|r| !r.is_empty()).map(PathBuf::from));
    let context = root_at(root).map(|root| Context { root, config: cli.config });
    match context.and_then(|context| cli.command.run(&context)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => failure(&e, is_json),
    }
}

/// Shows an error, and returns its exit code.
fn failure(e: &Error, is_json: bool) -> ExitCode {
    logger::error(e);
    if is_json {
        output::show_error(e.exit_code(), &e.to_string());
    }
    ExitCode::from(e.exit_code())
}

/// Help and version go to stdout and succeed; anything else is an error of usage.
fn usage(e: &clap::Error, args: &[OsString], is_json: bool) -> ExitCode {
    if !e.use_stderr() {
        return if e.print().is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    }
    logger::start(0, false);
    failure(&Error::Usage(one_line(e, args)), is_json)
}

/// What is wrong with a command line: the first paragraph of clap's text, the one that begins with `tip:`, and where the
/// usage is shown.
fn one_line(e: &clap::Error, args: &[OsString]) -> String {
    let command = Cli::command();
    let named = args.iter().skip(1).find_map(|arg| command.find_subcommand(arg));
    let help = named.map_or("abide --help".into(), |named| format!("abide {} --help", named.get_name()));
    let text = match e.kind() {
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand | ErrorKind::MissingSubcommand => {
            "a command is needed".to_owned()
        }
        _ => problem(&e.to_string()),
    };
    format!("{text}; see '{help}'")
}

fn problem(text: &str) -> String {
    let paragraphs = text.split("\n\n").map(|paragraph| {
        paragraph.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ")
    });
    let is_told = |(number, text): &(usize, String)| *number == 0 || text.starts_with("tip: ");
    let told = paragraphs.enumerate().filter(is_told);
    let told =
        told.map(|(_, text)| text.trim_start_matches("error: ").trim_start_matches("tip: ").to_owned());
    abide_core::text::line(&told.collect::<Vec<_>>().join("; "))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn told(words: &[&str]) -> String {
        let args: Vec<OsString> = ["abide"].iter().chain(words).map(OsString::from).collect();
        one_line(&Cli::try_parse_from(&args).unwrap_err(), &args)
    }

    #[test]
    fn a_wrong_command_line_is_one_line_that_names_the_help() {
        for (words, expected) in [
            (
                &["write"][..],
                "the following required arguments were not provided: <IMAGE>; see 'abide write --help'",
            ),
            (
                &["status", "--jsno"],
                "unexpected argument '--jsno' found; a similar argument exists: '--json'; see 'abide status --help'",
            ),
            (&["frobnicate"], "unrecognized subcommand 'frobnicate'; see 'abide --help'"),
            (&[], "a command is needed; see 'abide --help'"),
            (
                &["status", "--json=yes"],
                "unexpected value 'yes' for '--json' found; no more were expected; see 'abide status --help'",
            ),
            (&["--root"], "a value is required for '--root <DIR>' but none was supplied; see 'abide --help'"),
        ] {
            assert_eq!(told(words), expected);
        }
        assert!(told(&["list", "a\nb"]).lines().count() == 1);
    }
}

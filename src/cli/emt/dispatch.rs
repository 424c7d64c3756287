//! Which of the tools was called.

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

use crate::cli::emt::{tool, update};

/// Runs the tool that `args` start with; `None` if that is another program.
#[must_use]
pub fn main(args: &[OsString]) -> Option<ExitCode> {
    let (name, args) = args.split_first()?;
    let args: Vec<String> = args.iter().map(|a| a.to_string_lossy().into_owned()).collect();
    let code = match Path::new(name).file_name()?.to_str()? {
        tool::NAME => tool::run(&args),
        update::NAME => update::run(&args),
        _ => return None,
    };
    Some(ExitCode::from(code))
}

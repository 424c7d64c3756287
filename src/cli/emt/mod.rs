//! A drop-in for the update tools of Intel's Edge Microvisor Toolkit (EMT): called by their
//! names, Abide takes their flags, on their disks.
//!
//! Source of the interface: `os-update-tool.sh` 2.9 and `os-update.sh` of EMT's standalone node.

mod support;
mod tool;
mod update;

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

/// Exit code for a wrong command line, for a tool at work already and for nothing to do.
const USAGE: u8 = 1;

/// What was said goes to stderr, as these tools do it.
fn say(tool: &str, text: &str) {
    eprintln!("{tool}: {text}");
}

/// Does what the tool of that name would do; `None` if `args` start with another name.
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

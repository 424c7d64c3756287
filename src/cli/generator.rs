//! `abide` under the name of its generator.

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

use abide_core::logger;
use abide_core::root::Root;

use crate::without_initramfs::generator;

/// Runs the generator, if `args` start with its name.
#[must_use]
pub fn main(args: &[OsString]) -> Option<ExitCode> {
    let (name, folders) = args.split_first()?;
    if Path::new(name).file_name()? != generator::NAME {
        return None;
    }
    logger::start(0, false);
    Some(match generator::run(&Root::live(), folders) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            logger::error(&e);
            ExitCode::from(e.exit_code())
        }
    })
}

//! The command line of the initramfs executable: `abide initrd [PART]`.
//!
//! Its units pass only two words. A full parser would take more time in each boot than the stage itself.

use std::process::ExitCode;

use abide_core::error::Error;
use abide_core::logger;
use abide_core::root::Root;
use abide_initramfs::initrd::{self, Part};

fn main() -> ExitCode {
    logger::start(0, false);
    let words: Vec<String> = std::env::args().skip(1).collect();
    let asked: Vec<&str> = words.iter().map(String::as_str).collect();
    let part = match asked.as_slice() {
        ["initrd"] => Ok(Part::Early),
        ["initrd", part] => part.parse().map_err(Error::Usage),
        _ => Err(Error::Usage(
            "this executable supports only `abide initrd [guard|early|root|emergency]`".into(),
        )),
    };
    match part.and_then(|part| initrd::run(&Root::live(), part)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            logger::error(&e);
            ExitCode::from(e.exit_code())
        }
    }
}

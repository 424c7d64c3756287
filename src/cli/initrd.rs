//! `abide initrd`

use abide_core::error::Result;
use abide_initramfs::initrd;
use abide_initramfs::initrd::Part;

use crate::cli::Context;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Which part of the stage: guard, early, root or emergency
    #[arg(default_value = "early")]
    part: Part,
}

pub fn run(context: &Context, args: &Args) -> Result<()> {
    initrd::run(&context.root, args.part)
}

//! `abide initrd`

use crate::error::Result;
use crate::stage::initrd::{self, Part};

use super::Context;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Which part of the stage: early, root or emergency
    #[arg(default_value = "early")]
    part: Part,
}

pub fn run(context: &Context, args: &Args) -> Result<()> {
    initrd::run(&context.root, args.part)
}

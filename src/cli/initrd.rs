//! `abide initrd`

use crate::error::Result;
use crate::stage::initrd::{self, Part};

use super::Context;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Which part of the stage: before the root is there, or once it is mounted
    #[arg(value_enum, default_value = "early")]
    part: Part,
}

pub fn run(context: &Context, args: &Args) -> Result<()> {
    match args.part {
        Part::Early => initrd::early(&context.root),
        Part::Root => initrd::root(&context.root),
        Part::Emergency => initrd::emergency(&context.root),
    }
}

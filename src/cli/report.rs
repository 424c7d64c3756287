//! `abide report`

use crate::events::deliver;
use abide_core::error::Result;

use crate::cli::Context;

#[derive(Debug, clap::Args)]
pub struct Args {}

pub fn run(context: &Context, _: &Args) -> Result<()> {
    deliver::report(&context.root, &context.load_config()?)
}

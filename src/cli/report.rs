//! `abide report`

use crate::events::deliver_pending;
use abide_core::error::Result;

use crate::cli::Context;

#[derive(Debug, clap::Args)]
pub struct Args {}

pub fn run(context: &Context, _: &Args) -> Result<()> {
    deliver_pending(&context.root, &context.load_config()?)
}

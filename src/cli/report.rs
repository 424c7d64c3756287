//! `abide report`

use crate::error::Result;
use crate::stage::report;

use super::Context;

#[derive(Debug, clap::Args)]
pub struct Args {}

pub fn run(context: &Context, _: &Args) -> Result<()> {
    report::report(&context.root, &context.load_config()?)
}

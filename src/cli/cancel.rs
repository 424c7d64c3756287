//! `abide cancel`

use abide_core::error::Result;
use abide_core::state::Lock;

use crate::cli::{Context, output};
use crate::update::cancel::cancel;

#[derive(Debug, clap::Args)]
pub struct Args {}

pub fn run(context: &Context, _: &Args) -> Result<()> {
    let _lock = Lock::take(&context.root)?;
    let config = context.load_config()?;
    let version = cancel(&mut context.change(&config)?)?;
    output::say(format_args!("{version} is cancelled; the running system boots next"));
    Ok(())
}

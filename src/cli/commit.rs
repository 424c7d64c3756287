//! `abide commit`

use crate::error::Result;
use crate::state::{Baseline, Lock};
use crate::update::{commit, trial};

use super::Context;

#[derive(Debug, clap::Args)]
pub struct Args {}

pub fn run(context: &Context, _: &Args) -> Result<()> {
    let _lock = Lock::take(&context.root)?;
    let config = context.load_config()?;
    let mut machine = context.change(&config)?;
    let baseline = Baseline::read(&context.root);
    let version = commit::commit(&mut machine, baseline)?;
    trial::unmark(&context.root)?;
    println!("{version} is committed");
    Ok(())
}

//! `abide assess`

use crate::error::Result;
use crate::stage::assess;

use super::Context;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// End the trial: its deadline has passed
    #[arg(long, conflicts_with = "failed")]
    deadline: bool,
    /// End the trial: it cannot succeed any more
    #[arg(long)]
    failed: bool,
}

pub fn run(context: &Context, args: &Args) -> Result<()> {
    let config = context.load_config();
    match (args.deadline, args.failed) {
        (true, _) => assess::end_at_deadline(&context.root, config),
        (_, true) => assess::end_failed(&context.root, config),
        _ => assess::assess(&context.root, config),
    }
}

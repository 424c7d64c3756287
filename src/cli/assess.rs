//! `abide assess`

use crate::assess::{every_boot, trial_boot};
use abide_core::error::Result;

use crate::cli::Context;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// End the trial: its deadline has passed
    #[arg(long, conflicts_with = "failed")]
    deadline: bool,
    /// End the trial: it cannot succeed any more
    #[arg(long)]
    failed: bool,
    /// Check the committed system, where the configuration asks for it
    #[arg(long, conflicts_with_all = ["deadline", "failed"])]
    every_boot: bool,
}

pub fn run(context: &Context, args: &Args) -> Result<()> {
    let config = context.load_config();
    match (args.deadline, args.failed) {
        (true, _) => trial_boot::end_at_deadline(&context.root, config),
        (_, true) => trial_boot::end_failed(&context.root, config),
        _ if args.every_boot => every_boot::assess(&context.root, &config?),
        _ => trial_boot::assess(&context.root, config),
    }
}

//! `abide assess`

use crate::assess::{committed_boot, rollback_on_failure, trial_boot};
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
    if args.deadline {
        rollback_on_failure::after_deadline(&context.root, config)
    } else if args.failed {
        rollback_on_failure::after_failed_unit(&context.root, config)
    } else if args.every_boot {
        committed_boot::assess(&context.root, &config?)
    } else {
        trial_boot::assess(&context.root, config)
    }
}

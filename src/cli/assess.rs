//! `abide assess`

use crate::assess::{committed_boot, consent, failed_trial, trial_boot};
use crate::without_initramfs::late_finding;
use abide_core::error::Result;

use crate::cli::Context;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// End the trial: its deadline has passed
    #[arg(long, conflicts_with = "failed")]
    deadline: bool,
    /// End the trial: it can no longer succeed
    #[arg(long)]
    failed: bool,
    /// Check the committed system, if the configuration requires it
    #[arg(long, conflicts_with_all = ["deadline", "failed"])]
    every_boot: bool,
    /// Determine the kind of this boot, if the initramfs has not done so
    #[arg(long, conflicts_with_all = ["deadline", "failed", "every_boot"])]
    find: bool,
    /// Succeed if another tool may mark the running entry as good
    #[arg(long, conflicts_with_all = ["deadline", "failed", "every_boot", "find"])]
    may_bless: bool,
}

pub fn run(context: &Context, args: &Args) -> Result<()> {
    let config = context.load_config();
    if args.find {
        late_finding::find_out(&context.root)
    } else if args.may_bless {
        consent::permit(&context.root, &config.unwrap_or_default())
    } else if args.deadline {
        failed_trial::after_deadline(&context.root, config)
    } else if args.failed {
        failed_trial::after_failed_unit(&context.root, config)
    } else if args.every_boot {
        committed_boot::assess(&context.root, &config?)
    } else {
        late_finding::wait_until_known(&context.root)?;
        trial_boot::assess(&context.root, config)
    }
}

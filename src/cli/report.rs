//! `abide report`

use crate::events::{
    deliver_copies, deliver_pending, hand_over, hand_over_refusal, none_left, settle, take_back,
};
use abide_core::error::{Error, Result};

use crate::cli::Context;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Report a fallback and run scripts, but send nothing; used by a unit
    #[arg(long, group = "what", hide = true)]
    settle: bool,
    /// Leave the events for the user of the unit; used by that unit
    #[arg(long, group = "what", hide = true)]
    hand_over: bool,
    /// Send the events that were left; used by that unit
    #[arg(long, group = "what", hide = true)]
    deliver: bool,
    /// Remove the events that were sent; used by that unit
    #[arg(long, group = "what", hide = true)]
    take_back: bool,
}

pub fn run(context: &Context, args: &Args) -> Result<()> {
    let root = &context.root;
    match args {
        Args { take_back: true, .. } => take_back(root),
        // The user of the unit may be unable to read the configuration.
        Args { deliver: true, .. } => none_left(deliver_copies(root)?),
        Args { hand_over: true, .. } => match context.load_config() {
            Ok(config) => hand_over(root, &config.events),
            Err(e @ Error::Usage(_)) => hand_over_refusal(root, &e),
            Err(e) => Err(e),
        },
        Args { settle: true, .. } => settle(root, &context.load_config()?),
        _ => deliver_pending(root, &context.load_config()?),
    }
}

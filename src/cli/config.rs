//! `abide config`

use crate::config::show;
use abide_core::config::load_tree;
use abide_core::error::Result;

use crate::cli::Context;
use crate::cli::output;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub fn run(context: &Context, args: &Args) -> Result<()> {
    // Reports an error with its place, as any other command does.
    context.load_config()?;
    let tree = show::in_force(load_tree(&context.root, context.config.as_deref())?)?;
    if args.json {
        output::show(format_args!("{}\n", show::json(&tree)))
    } else {
        output::show(show::toml(&tree))
    }
}

//! `abide config`

use crate::config::show;
use abide_core::config::load_tree;
use abide_core::error::Result;

use crate::cli::Context;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// For machines
    #[arg(long)]
    json: bool,
}

pub fn run(context: &Context, args: &Args) -> Result<()> {
    // What is wrong is told with its place, as by any other command.
    context.load_config()?;
    let tree = show::in_force(load_tree(&context.root, context.config.as_deref())?)?;
    match args.json {
        true => println!("{}", show::json(&tree)),
        false => print!("{}", show::toml(&tree)),
    }
    Ok(())
}

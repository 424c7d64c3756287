//! `abide list`

use crate::boot::Access;
use crate::boot::listing::{Known, Listing};
use crate::error::{OrError, Result};
use crate::update::Machine;

use super::Context;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// For machines
    #[arg(long)]
    json: bool,
}

pub fn run(context: &Context, args: &Args) -> Result<()> {
    let machine = Machine::survey_boot(&context.root, Access::Read)?;
    let state = machine.state();
    let known = Known { running: machine.booted_entry(), counted: state.counted_entry() };
    let listing = Listing::new(&machine.entries, &machine.settings, &machine.quirks, known);
    if args.json {
        println!("{}", serde_json::to_string(&listing).or_failed(|| "cannot encode the list")?);
    } else {
        print!("{}", listing.text());
    }
    Ok(())
}

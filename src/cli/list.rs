//! `abide list`

use crate::boot::listing::{Known, Listing};
use crate::update::{applied_by_other, rearm};
use abide_core::boot::Access;
use abide_core::error::{OrError, Result};
use abide_core::update::Machine;

use crate::cli::Context;
use crate::cli::output;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub fn run(context: &Context, args: &Args) -> Result<()> {
    let machine = Machine::read_boot(&context.root, Access::Read)?;
    let state = machine.state();
    let known = Known { running: machine.booted_entry(), counted: rearm::counted_entry(&state) };
    let listing = Listing::new(&machine.entries, &machine.settings, &machine.quirks, known);
    if args.json {
        let json = serde_json::to_string(&listing).or_failed(|| "cannot encode the list")?;
        output::show(format_args!("{json}\n"))?;
    } else {
        let doubt = applied_by_other::uncommitted(&machine).map(|found| format!("running: {found}\n"));
        output::show(format_args!("{}{}", listing.text(), doubt.unwrap_or_default()))?;
    }
    Ok(())
}

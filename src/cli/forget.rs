//! `abide forget`

use crate::update::forget::{Which, forget, forget_lists};
use abide_core::error::Result;
use abide_core::state::Lock;

use crate::cli::Context;
use crate::cli::output;

#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
pub struct Args {
    /// The version, or the first digits of the digest, as shown by `abide status --json`
    #[arg(value_name = "VERSION|DIGEST")]
    image: Option<String>,
    /// All records
    #[arg(long)]
    all: bool,
    /// The lists of images that were seen, so that an older list or another feed is accepted
    #[arg(long)]
    lists: bool,
}

pub fn run(context: &Context, args: &Args) -> Result<()> {
    let _lock = Lock::take(&context.root)?;
    let config = context.load_config()?;
    let mut machine = context.change(&config)?;
    if args.lists {
        let dropped = forget_lists(&mut machine)?;
        output::say(format_args!("{dropped} list{} forgotten", if dropped == 1 { "" } else { "s" }));
        return Ok(());
    }
    let which = args.image.clone().map_or(Which::All, Which::Image);
    let dropped = forget(&mut machine, &which)?;
    output::say(format_args!("{dropped} failure record{} deleted", if dropped == 1 { "" } else { "s" }));
    Ok(())
}

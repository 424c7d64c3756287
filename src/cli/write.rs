//! `abide write`

use crate::events::{Event, EventKind, publish};
use crate::update::write::{Wanted, write};
use abide_core::error::Result;
use abide_core::state::Lock;

use crate::cli::Context;
use crate::cli::interrupt;
use crate::cli::output;
use crate::cli::progress::{ProgressDisplay, Style};

const MIB: u64 = 1 << 20;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The image: a file, an http:// or https:// URL, - for standard input, or a folder or URL/ with SHA256SUMS
    image: String,
    /// The expected SHA-256 of the published file
    #[arg(long, value_name = "HEX")]
    sha256: Option<String>,
    /// The version to write; by default the newest in a folder
    #[arg(long, value_name = "VERSION")]
    version: Option<String>,
    /// Accept an image that is older than the floor, and a list that is older than one that was seen
    #[arg(long)]
    allow_downgrade: bool,
    /// How to show progress
    #[arg(long, value_enum, value_name = "HOW", default_value_t = Style::Auto)]
    progress: Style,
}

impl Args {
    /// An image and its expected digest.
    pub(super) fn of(image: &str, sha256: Option<&str>) -> Self {
        Self {
            image: image.to_owned(),
            sha256: sha256.map(str::to_owned),
            version: None,
            allow_downgrade: false,
            progress: Style::Auto,
        }
    }
}

pub fn run(context: &Context, args: &Args) -> Result<()> {
    let lock = Lock::take(&context.root)?;
    let config = context.load_config()?;
    let mut machine = context.change(&config)?;
    interrupt::watch("interrupted; the running system is unchanged, run `abide write` again")?;
    let mut shown = ProgressDisplay::new(args.progress);
    let wanted = Wanted {
        sha256: args.sha256.as_deref(),
        version: args.version.as_deref(),
        allow_downgrade: args.allow_downgrade,
        ..Wanted::of(&args.image)
    };
    let written = write(&mut machine, &wanted, &config, |p| shown.show(p));
    shown.end(written.as_ref());
    let written = written?;
    if !shown.is_json() {
        output::say(format_args!(
            "{} is staged in slot {}: {}, {} MiB, {} of them written and read back in {:.1} s; `abide apply` makes it boot next",
            written.version,
            written.slot,
            written.proof,
            written.totals.bytes.div_ceil(MIB),
            written.totals.written.div_ceil(MIB),
            shown.seconds()
        ));
    }
    let update = machine.state().update;
    drop((machine, lock));
    if let Some(update) = &update {
        publish(&context.root, &config, &Event::of_update(&context.root, EventKind::Staged, update));
    }
    Ok(())
}

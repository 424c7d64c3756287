//! `abide apply`

use log::warn;

use crate::boot::initramfs_stage;
use crate::events::{Event, EventKind, publish};
use crate::health;
use crate::systemd::reboot;
use crate::update::apply;
use abide_core::error::Result;
use abide_core::state::Lock;

use crate::cli::Context;
use crate::cli::output;

#[derive(Debug, Default, clap::Args)]
pub struct Args {
    /// Reboot at once
    #[arg(long)]
    pub(super) reboot: bool,
}

pub fn run(context: &Context, args: &Args) -> Result<()> {
    let _lock = Lock::take(&context.root)?;
    let config = context.load_config()?;
    let mut machine = context.change(&config)?;
    // The trial is compared with the checks that pass now. A folder has no services.
    let baseline = context
        .root
        .is_live()
        .then(|| health::baseline::take(&context.root, &config, &machine.state().baseline));
    let applied = apply::apply(&mut machine, config.assess.tries, baseline, &config.scripts)?;
    output::say(format_args!(
        "{} boots next, on trial: {} tries as {}{}",
        applied.version,
        config.assess.tries,
        applied.file,
        if applied.demoted { " (the running entry is demoted for the trial)" } else { "" }
    ));
    if context.root.is_live() && !initramfs_stage::ran(&context.root) {
        warn!(
            "Abide's initramfs stage did not run in this boot: if the new image lacks it, too, Abide cannot end a \
             trial that hangs before its root is mounted"
        );
    }
    let update = machine.state().update;
    drop(machine);
    if let Some(update) = &update {
        publish(&context.root, &config, &Event::of_update(&context.root, EventKind::Applied, update));
    }
    if args.reboot {
        reboot::request(&context.root, reboot::Manner::Orderly)?;
    }
    Ok(())
}

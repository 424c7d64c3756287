//! `abide rollback`

use crate::systemd::reboot;
use abide_core::error::Result;
use abide_core::state::{Lock, Phase, Verdict};

use crate::cli::Context;
use crate::cli::output;
use crate::update::rollback;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Reboot at once
    #[arg(long)]
    reboot: bool,
    /// Why the trial is ended; goes into the failure record
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

pub fn run(context: &Context, args: &Args) -> Result<()> {
    let _lock = Lock::take(&context.root)?;
    let config = context.load_config()?;
    let mut machine = context.change(&config)?;
    let verdict =
        args.reason.clone().map(|reason| Verdict { phase: Phase::Userspace, reason, checks: vec![] });
    let done = rollback::rollback(&mut machine, verdict, config.assess.tries, &config.scripts)?;
    match &done {
        rollback::RolledBack::Trial(version) => {
            output::say(format_args!("{version} is marked as bad; the previous system boots next"));
        }
        rollback::RolledBack::ToOther(version) => {
            output::say(format_args!("{version} boots next, on trial: {} tries", config.assess.tries));
        }
    }
    drop(machine);
    if args.reboot {
        let manner = match done {
            rollback::RolledBack::Trial(_) => reboot::Manner::Forced,
            rollback::RolledBack::ToOther(_) => reboot::Manner::Orderly,
        };
        reboot::request(&context.root, manner)?;
    }
    Ok(())
}

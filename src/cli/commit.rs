//! `abide commit`

use log::warn;

use crate::events::{Event, EventKind, outcome_scripts, publish};
use crate::health::baseline;
use crate::update::trial;
use crate::update::{commit, rearm};
use abide_core::error::Result;
use abide_core::state::{Lock, Stage, Update};

use crate::cli::Context;
use crate::cli::output;

#[derive(Debug, clap::Args)]
pub struct Args {}

pub fn run(context: &Context, _: &Args) -> Result<()> {
    let lock = Lock::take(&context.root)?;
    let config = context.load_config()?;
    let mut machine = context.change(&config)?;
    let baseline = baseline::read(&context.root);
    let is_open = |u: &Update| matches!(u.stage, Stage::Applied | Stage::Testing) && machine.runs(u);
    let update = machine.state().update;
    // A repeated commit is not announced again: the scripts in committed.d may do what cannot be undone.
    let is_news = update.as_ref().is_some_and(is_open) || trial::is_marked(&context.root);
    if let Some(update) = update.filter(|_| is_news)
        && let Err(e) = outcome_scripts::expect_commit(&context.root, &config.scripts, &update.version)
    {
        warn!("{e}; if the power fails now, the scripts in committed.d will not run");
    }
    let version = commit::commit(&mut machine, baseline)?;
    trial::unmark(&context.root)?;
    output::say(format_args!("{version} is committed"));
    if config.assess.rearm
        && let Err(e) = rearm::rearm(&mut machine, config.assess.tries)
    {
        warn!("{e}; the next boots are not counted");
    }
    let update = machine.state().update.filter(|_| is_news);
    drop((machine, lock));
    let Some(update) = update else { return Ok(()) };
    let event = Event::of_update(&context.root, EventKind::Committed, &update);
    publish(&context.root, &config, &event);
    outcome_scripts::run(&context.root, &config.scripts, &event);
    outcome_scripts::forget_commit(&context.root)
}

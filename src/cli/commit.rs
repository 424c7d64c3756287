//! `abide commit`

use std::time::Duration;

use log::warn;

use crate::assess::evidence;
use crate::config::Config;
use crate::events::{Event, EventKind, outcome_scripts, publish};
use crate::health::baseline;
use crate::update::trial;
use crate::update::{commit, rearm};
use abide_core::error::{Error, Result};
use abide_core::state::lock::BRIEFLY;
use abide_core::state::{Lock, Stage, Update};

use crate::cli::Context;
use crate::cli::output;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Commit even if the required checks have not passed in this boot
    #[arg(long)]
    now: bool,
}

pub fn run(context: &Context, args: &Args) -> Result<()> {
    let config = context.load_config()?;
    if args.now { keep(context, &config) } else { keep_on_evidence(context, &config, None) }
}

/// Commits the system on trial if the required checks have passed in this boot, or pass within `limit`.
pub(super) fn keep_on_evidence(context: &Context, config: &Config, limit: Option<Duration>) -> Result<()> {
    if is_open(context, config)?
        && let Err(e) = evidence::wait_for(&context.root, config, limit)
        // The assessment may have committed it meanwhile.
        && is_open(context, config)?
    {
        return Err(Error::Refused(format!(
            "the system on trial cannot be committed yet: {e}; the assessment continues and commits it once it has \
             passed; `abide commit --now` does not wait for that"
        )));
    }
    keep(context, config)
}

/// Whether the running system waits for its commit. An assessment that runs holds the lock for moments only.
fn is_open(context: &Context, config: &Config) -> Result<bool> {
    let _lock = Lock::wait(&context.root, BRIEFLY)?;
    commit::is_open(&context.change(config)?)
}

/// Commits the system on trial.
pub(super) fn keep(context: &Context, config: &Config) -> Result<()> {
    let lock = Lock::wait(&context.root, BRIEFLY)?;
    let mut machine = context.change(config)?;
    let baseline = baseline::read(&context.root);
    let is_open = |u: &Update| matches!(u.stage, Stage::Applied | Stage::Testing) && machine.runs(u);
    let update = machine.state().update;
    // A repeated commit is not announced again: the scripts in committed.d may do what cannot be undone.
    let is_news = update.as_ref().is_some_and(is_open) || trial::is_marked(&context.root);
    if let Some(update) = update.filter(|_| is_news) {
        expect(context, config, &update.version);
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
    update.map_or(Ok(()), |update| announce(context, config, &update))
}

/// Notes that the scripts in committed.d must run for this version, whatever happens.
pub(super) fn expect(context: &Context, config: &Config, version: &str) {
    if let Err(e) = outcome_scripts::expect_commit(&context.root, &config.scripts, version) {
        warn!("{e}; if the power fails now, the scripts in committed.d will not run");
    }
}

/// Tells of the commit, and runs the scripts in committed.d.
pub(super) fn announce(context: &Context, config: &Config, update: &Update) -> Result<()> {
    let event = Event::of_update(&context.root, EventKind::Committed, update);
    publish(&context.root, config, &event);
    outcome_scripts::run(&context.root, &config.scripts, &event);
    outcome_scripts::forget_commit(&context.root)
}

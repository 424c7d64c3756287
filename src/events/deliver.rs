//! What is left to be told after a boot: that it is a fallback, that a commit was not followed by its
//! scripts, and what a server has not taken yet.

use std::fs;

use log::warn;

use crate::config::Config;
use crate::events::{Event, Kind, announce, hooks, outbox};
use abide_core::boot::Access;
use abide_core::error::{Error, Result};
use abide_core::root::Root;
use abide_core::state::{BootKind, BootNote, Stage, State};
use abide_core::update::Machine;

/// That this boot is a fallback was told.
const TOLD: &str = "/run/abide/fallback-told";

/// Tells what is left to be told.
///
/// # Errors
/// [`Error::Failed`] if reports still wait for their server; the unit then tries again.
pub fn report(root: &Root, config: &Config) -> Result<()> {
    let state = Machine::survey_boot(root, Access::Read)?.state();
    if BootNote::read(root).is_some_and(|note| note.kind == BootKind::Fallback) && !root.path(TOLD).exists() {
        if let Some(event) = fallback(root, &state) {
            announce(root, config, &event);
            hooks::run(root, &config.scripts, &event);
        }
        if let Err(e) = fs::write(root.path(TOLD), "") {
            warn!("{TOLD}: cannot write: {e}");
        }
    }
    finish_commit(root, config, &state)?;
    match outbox::deliver(root, &config.events)? {
        0 => Ok(()),
        1 => Err(Error::Failed("1 report waits for its server".into())),
        left => Err(Error::Failed(format!("{left} reports wait for their server"))),
    }
}

/// Who went back from what, and why.
fn fallback(root: &Root, state: &State) -> Option<Event> {
    let update = state.update.as_ref()?;
    let event = Event::of_update(root, Kind::RolledBack, update);
    let record = state.failure_of(Some(&update.version), update.digest.as_deref());
    Some(match (record, &update.verdict) {
        (Some(record), _) => event.with_record(record),
        (None, Some(verdict)) => event.because(verdict),
        (None, None) => event,
    })
}

/// The scripts for a commit that was cut off before they had run.
fn finish_commit(root: &Root, config: &Config, state: &State) -> Result<()> {
    let Some(version) = hooks::expected(root) else { return Ok(()) };
    let committed = state.update.as_ref().filter(|u| u.stage == Stage::Committed && u.version == version);
    let on_trial = state.update.as_ref().is_some_and(|u| u.version == version && u.stage < Stage::Committed);
    if on_trial {
        // The commit is under way, or still to come.
        return Ok(());
    }
    if let Some(update) = committed {
        hooks::run(root, &config.scripts, &Event::of_update(root, Kind::Committed, update));
    }
    hooks::forget_commit(root)
}

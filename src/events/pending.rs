//! Events that are pending after a boot: that it is a fallback, the scripts of an interrupted commit, and
//! the events in the outbox.

use log::warn;

use crate::config::Config;
use crate::events::event::{Event, EventKind};
use crate::events::publish::publish;
use crate::events::{outbox, outcome_scripts};
use crate::files;
use crate::update::refusal::failure_of;
use abide_core::boot::Access;
use abide_core::error::{Error, Result};
use abide_core::root::Root;
use abide_core::state::{BootKind, BootNote, Stage, State};
use abide_core::update::Machine;

/// A marker for this boot: the event of its fallback was published.
const PUBLISHED: &str = "/run/abide/fallback-told";

/// Delivers all pending events.
///
/// # Errors
/// [`Error::Failed`] if events still wait for the server.
pub fn deliver_pending(root: &Root, config: &Config) -> Result<()> {
    settle(root, config)?;
    none_left(outbox::deliver(root, &config.events)?)
}

/// An error if events still wait for the server; the unit then tries again.
///
/// # Errors
/// [`Error::Failed`] for more than 0.
pub fn none_left(count: usize) -> Result<()> {
    match count {
        0 => Ok(()),
        1 => Err(Error::Failed("1 event waits for the server".into())),
        left => Err(Error::Failed(format!("{left} events wait for the server"))),
    }
}

/// Publishes a fallback, and runs the scripts of an interrupted commit. Sends nothing.
///
/// # Errors
/// [`Error::Failed`] if the state cannot be read, or a marker cannot be removed.
pub fn settle(root: &Root, config: &Config) -> Result<()> {
    let state = Machine::read_boot(root, Access::Read)?.state();
    if BootNote::read(root).is_some_and(|note| note.kind == BootKind::Fallback)
        && !root.path(PUBLISHED).exists()
    {
        if let Some(event) = fallback(root, &state) {
            publish(root, config, &event);
            outcome_scripts::run(root, &config.scripts, &event);
        }
        if let Err(e) = files::replace(&root.path(PUBLISHED), b"") {
            warn!("{e}");
        }
    }
    finish_commit(root, config, &state)
}

/// The event of a rollback, with its reason.
fn fallback(root: &Root, state: &State) -> Option<Event> {
    let update = state.update.as_ref()?;
    let event = Event::of_update(root, EventKind::RolledBack, update);
    let record = failure_of(state, Some(&update.version), update.digest.as_deref());
    Some(match (record, &update.verdict) {
        (Some(record), _) => event.with_record(record),
        (None, Some(verdict)) => event.because(verdict),
        (None, None) => event,
    })
}

/// Runs the scripts of a commit that was interrupted before they had run.
fn finish_commit(root: &Root, config: &Config, state: &State) -> Result<()> {
    let Some(version) = outcome_scripts::expected_commit(root) else { return Ok(()) };
    let committed = state.update.as_ref().filter(|u| u.stage == Stage::Committed && u.version == version);
    let on_trial = state.update.as_ref().is_some_and(|u| u.version == version && u.stage < Stage::Committed);
    if on_trial {
        // The commit has not happened yet; it will run them.
        return Ok(());
    }
    if let Some(update) = committed {
        outcome_scripts::run(root, &config.scripts, &Event::of_update(root, EventKind::Committed, update));
    }
    outcome_scripts::forget_commit(root)
}

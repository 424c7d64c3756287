//! `cancel`: cancels an update that is not running.

use log::info;

use abide_core::boot::esp::safe_rename::discard;
use abide_core::boot::{Counter, Entry};
use abide_core::error::{Error, Result};
use abide_core::state::{Stage, State, Update};
use abide_core::update::machine::Machine;
use abide_core::update::renames::{rename, restore};
use abide_core::update::step::{STAGED_UKI, Step, entries_after, perform_all};

use crate::update::WholeMachine;
use crate::update::switch::{Loader, refuse_unless_next};

/// Takes back the update that is staged, applied, or on trial and skipped by the loader in this boot: its entry goes, and the running system boots
/// next. Returns its version. A system that was put on trial again by `abide rollback` keeps its entry and its slot.
///
/// Variables that `apply` cleared are not set again, and what still pins the other system is cleared. The slot of an image that was taken back holds nothing that
/// boots.
///
/// # Errors
/// [`Error::Nothing`] if no update waits for a boot; [`Error::Refused`] if the running system is on trial or
/// unknown, or would not boot next; [`Error::Boot`] if the ESP cannot be changed.
pub fn cancel(machine: &mut Machine) -> Result<String> {
    machine.refuse_on_trial()?;
    let state = machine.state();
    let update = waiting(&state)?;
    let running = machine.running_entry()?;
    let mut steps = plan(machine, &state, update, &running)?;
    let after = entries_after(&machine.entries, &steps);
    let settings = machine.settings.clone();
    let loader = Loader { settings: &settings, quirks: &machine.quirks };
    if refuse_unless_next(loader, &after, &running.id()).is_err() {
        // A variable may name the system that was to be tried again.
        let settings = machine.settings_for_trial();
        let loader = Loader { settings: &settings, quirks: &machine.quirks };
        refuse_unless_next(loader, &after, &running.id())?;
        steps.splice(0..0, machine.overrides_to_clear());
    }
    if update.uki.is_some() {
        discard(machine.dirs.esp.as_ref(), STAGED_UKI)?;
    }
    perform_all(machine, &steps)?;
    info!("{} was cancelled; {} boots next", update.version, running.id());
    Ok(update.version.clone())
}

/// The update that waits for a boot.
fn waiting(state: &State) -> Result<&Update> {
    let nothing = |why: String| Err(Error::Nothing(format!("{why}; nothing to cancel")));
    let Some(update) = state.update.as_ref().filter(|u| u.stage != Stage::Committed) else {
        return nothing("no update is staged or applied".into());
    };
    let version = &update.version;
    match update.stage {
        Stage::Writing | Stage::Staged => Ok(update),
        // The running system is a committed one: the loader skipped a trial that was begun.
        Stage::Applied | Stage::Testing if update.verdict.is_none() => Ok(update),
        _ => nothing(format!("{version} has already failed")),
    }
}

/// The steps, in an order that is safe to be interrupted after each: the running entry first gets its place back, and
/// the state is last, so that a `cancel` that was cut off can be repeated.
fn plan(machine: &Machine, state: &State, update: &Update, running: &Entry) -> Result<Vec<Step>> {
    let mut steps = restore(update, &machine.entries);
    let names = machine.entries.iter().filter(|e| e.id() == update.entry && update.stage >= Stage::Applied);
    for entry in names {
        if update.uki.is_some() {
            steps.push(Step::Remove { partition: entry.partition, file: entry.path() });
        } else {
            steps.extend(put_back(machine, &steps, entry, running));
        }
    }
    if update.uki.is_some() && update.stage >= Stage::Applied {
        steps.push(Step::RemoveAddons { id: update.entry.clone() });
    }
    let next = State { update: None, ..state.clone() };
    steps.push(Step::Save(Box::new(next)));
    Ok(steps)
}

/// The rename that gives a good system, which was to be tried again, its name back: the plain one if the running system
/// boots next all the same, else that of a good system that has stepped back.
fn put_back(machine: &Machine, before: &[Step], entry: &Entry, running: &Entry) -> Option<Step> {
    // A one-shot is gone after one boot.
    let settings = machine.settings_for_trial();
    let loader = Loader { settings: &settings, quirks: &machine.quirks };
    let stepped_back = Counter { left: 0, done: 0 };
    let names = [entry.name.plain(), entry.name.with_counter(Some(stepped_back))];
    let renames = names.map(|name| rename(entry, &name.to_string()));
    renames.into_iter().find(|step| {
        let steps: Vec<Step> = before.iter().cloned().chain([step.clone()]).collect();
        refuse_unless_next(loader, &entries_after(&machine.entries, &steps), &running.id()).is_ok()
    })
}

//! Boot counting for a committed system: the loader counts its boots as on a trial. Its entry gets its
//! tries back whenever the system is healthy. So if a committed system crashes later, the loader still
//! falls back to the other one.
//!
//! This requires that the other slot holds a good system, and that the loader boots it, by its model,
//! once the tries are used up. Whatever removes the other system removes the counter first ([`disarm`]).
//! So the tries of the last good system can never run out and lead to something worse.

use log::info;

use abide_core::boot::Entry;
use abide_core::error::{Error, Result};
use abide_core::state::{Previous, Stage, State, Update};

use crate::update::WholeMachine;
use crate::update::standing::{Standing, standing};
use abide_core::update::machine::Machine;
use abide_core::update::renames::{find, rename};
use abide_core::update::step::{Step, perform_all};

use crate::update::switch::{Loader, plan_switch, refuse_unless_next, remember_running};
use abide_core::update::record;

/// Restores all tries of the running system, which is healthy or is shut down in an orderly way. If
/// tries would not help, its entry gets its plain name instead. Returns whether it has tries now.
///
/// # Errors
/// [`Error::Boot`] if the ESP cannot be changed; the entry is then named as before.
pub fn rearm(machine: &mut Machine, tries: u32) -> Result<bool> {
    match plan(machine, tries) {
        Ok(steps) => perform_all(machine, &steps).map(|()| true),
        Err(Error::Boot(e)) => Err(Error::Boot(e)),
        Err(why) => {
            info!("the boots of this system are not counted: {why}");
            if runs(machine) {
                disarm(machine)?;
            }
            Ok(false)
        }
    }
}

/// Gives the entry whose boots are counted its plain name back. Nothing is done if there is none.
///
/// # Errors
/// [`Error::Boot`] if the ESP cannot be changed.
pub fn disarm(machine: &mut Machine) -> Result<()> {
    let (steps, _) = plan_disarm(&machine.state(), &machine.entries);
    perform_all(machine, &steps)
}

/// The steps that give the entry whose boots are counted its plain name back, and the state after them.
#[must_use]
pub fn plan_disarm(state: &State, entries: &[Entry]) -> (Vec<Step>, State) {
    let mut next = state.clone();
    let Some(update) = next.update.as_mut().filter(|u| u.is_counted()) else { return (vec![], next) };
    update.counted = false;
    // The name first: the loader follows the name, whatever the state says.
    let counted = find(entries, &update.entry).filter(|e| e.name.counter().is_some());
    let mut steps: Vec<Step> =
        counted.map(|entry| rename(entry, entry.name.plain().file())).into_iter().collect();
    steps.push(Step::Save(Box::new(next.clone())));
    (steps, next)
}

/// Id of the entry of a committed system that still has tries.
#[must_use]
pub fn counted_entry(state: &State) -> Option<&str> {
    state.update.as_ref().filter(|u| u.is_counted()).map(|u| u.entry.as_str())
}

/// Whether the running system is one whose boots are counted.
#[must_use]
pub fn runs(machine: &Machine) -> bool {
    machine.state().update.as_ref().is_some_and(|u| u.is_counted() && machine.runs(u))
}

/// The steps that give the running entry its tries: what falls back must be known before the loader
/// counts, so the state comes first.
///
/// # Errors
/// [`Error::Refused`] or [`Error::Nothing`] with the reason why tries would not help.
fn plan(machine: &Machine, tries: u32) -> Result<Vec<Step>> {
    machine.refuse_on_trial()?;
    let running = machine.running_entry()?;
    let slot = machine.running_slot()?;
    let state = machine.state();
    let other = other_system(machine, &state, &running)?;
    refuse_unless_chosen(machine, &state, &running)?;
    let plain = running.renamed(running.name.plain());
    let loader = Loader { settings: &machine.settings, quirks: &machine.quirks };
    let switch = plan_switch(loader, &machine.entries, &plain, &other.id(), tries)?;
    if switch.demoted.is_some() {
        return Err(Error::Refused(format!("the boot loader would boot {} first", other.id())));
    }
    let mut steps = vec![];
    let known = state.update.as_ref().filter(|u| u.is_counted() && u.entry == running.id());
    let fits =
        known.is_some_and(|u| u.tries == tries && u.previous.as_ref().is_some_and(|p| p.entry == other.id()));
    if !fits {
        let mut next = remember_running(&state, slot, &running);
        let previous = Previous {
            slot: slot.other(),
            entry: other.id(),
            version: other.version.clone(),
            demoted: other.name.counter().is_some(),
        };
        next.update = Some(own_record(machine, &next, &running, previous, tries)?);
        steps.push(Step::Save(Box::new(next)));
    }
    if running.name != switch.entry.name {
        steps.push(rename(&running, switch.entry.name.file()));
    }
    Ok(steps)
}

/// Tries must not change which system boots next: this one may have been chosen in the boot menu for
/// this boot only.
fn refuse_unless_chosen(machine: &Machine, state: &State, running: &Entry) -> Result<()> {
    match counted_entry(state) {
        // It may be on its last try, so that the other one is next.
        Some(counted) if counted == running.id() => return Ok(()),
        Some(counted) => return Err(Error::Refused(format!("the boots of {counted} are counted already"))),
        None => {}
    }
    let loader = Loader { settings: &machine.settings, quirks: &machine.quirks };
    refuse_unless_next(loader, &machine.entries, &running.id())
}

/// The system that boots if this one crashes.
fn other_system(machine: &Machine, state: &State, running: &Entry) -> Result<Entry> {
    let slot = machine.running_slot()?.other();
    let nothing = |why: &str| Error::Nothing(format!("slot {slot} {why}"));
    if state.update.as_ref().is_some_and(|u| u.slot == slot && u.stage != Stage::Committed) {
        return Err(nothing("holds an update that is not committed"));
    }
    let entry = machine.entry_of_slot(slot).ok_or_else(|| nothing("has no boot entry"))?;
    if standing(state, &entry, slot) == Standing::Good && entry.id() != running.id() {
        Ok(entry)
    } else {
        Err(nothing("does not hold a good system"))
    }
}

/// What is remembered of the running system: its own update, where that is the last one, and else the
/// same as if it had been one.
fn own_record(
    machine: &Machine,
    state: &State,
    running: &Entry,
    previous: Previous,
    tries: u32,
) -> Result<Update> {
    let slot = previous.slot.other();
    let own = state.update.as_ref().filter(|u| u.stage == Stage::Committed && u.entry == running.id());
    if let Some(update) = own {
        return Ok(Update { tries, counted: true, previous: Some(previous), ..update.clone() });
    }
    let installed = state.installed(slot).filter(|i| i.entry == running.id());
    let digest = installed.and_then(|i| i.digest.clone());
    let update = record::of_entry(machine, running, previous, tries);
    if update.root.is_empty() {
        return Err(Error::Nothing(format!("{} names no root", running.id())));
    }
    Ok(Update { digest, stage: Stage::Committed, counted: true, ..update })
}

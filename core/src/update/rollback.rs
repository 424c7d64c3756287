//! `rollback`: away from the running system.

use log::warn;

use crate::boot::{Counter, Entry};
use crate::disk::RootArg;
use crate::error::{Error, Result};
use crate::state::{Installed, Phase, Previous, Stage, State, Update, Verdict};

use crate::update::machine::Machine;
use crate::update::outcome::{failed_state, tries_used};
use crate::update::rearm::disarm;
use crate::update::renames::{find, mark_bad, rename, restore};
use crate::update::step::{Effects, Step, perform_all};
use crate::update::switch::demote;
use crate::update::switch::{Loader, Switch, plan_switch, remember_running};

/// What a rollback did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RolledBack {
    /// The running trial was marked bad; the version that was given up.
    Trial(String),
    /// The other slot is on trial from the next boot; its version.
    ToOther(String),
}

/// On a trial: gives it up for `verdict` (by default: an operator said so).
/// On a committed system: puts the other slot on trial, if it holds a good system.
///
/// # Errors
/// [`Error::Nothing`] if there is no good system to go to, [`Error::Refused`] if the loader
/// would not do what is meant, [`Error::Boot`] if the ESP cannot be changed.
pub fn rollback(machine: &mut Machine, verdict: Option<Verdict>, tries: u32) -> Result<RolledBack> {
    let state = machine.state();
    let trial = state
        .update
        .as_ref()
        .filter(|u| matches!(u.stage, Stage::Applied | Stage::Testing) && machine.runs(u));
    if let Some(update) = trial {
        let verdict = verdict.unwrap_or_else(|| Verdict {
            phase: update.boots.last().map_or(Phase::Userspace, |b| b.phase.max(Phase::Userspace)),
            reason: "rolled back by hand".into(),
            checks: vec![],
        });
        let steps = plan_give_up(&state, update, &machine.entries, &verdict, &machine.now);
        perform_all(machine, &steps)?;
        unpin(machine);
        return Ok(RolledBack::Trial(update.version.clone()));
    }
    if verdict.is_some() {
        return Err(Error::Nothing("no update is on trial; nothing to give up".into()));
    }
    to_other(machine, &state, tries)
}

/// A default that somebody pinned in mid-trial would boot what was just given up. What cannot be
/// cleared does not undo the rest; the initramfs stage meets it again.
fn unpin(machine: &mut Machine) {
    for step in machine.pins_to_clear() {
        if let Err(e) = machine.perform(&step) {
            warn!("{e}");
        }
    }
}

/// The steps that give up a running trial: the record, then the mark on the ESP
/// that makes the loader fall back, then the old system's plain name.
#[must_use]
pub fn plan_give_up(
    state: &State,
    update: &Update,
    entries: &[Entry],
    verdict: &Verdict,
    now: &str,
) -> Vec<Step> {
    let attempts = find(entries, &update.entry)
        .and_then(|e| e.name.counter())
        .map_or(update.boots.len().try_into().unwrap_or(u32::MAX), |counter| tries_used(update, counter));
    let mut steps = vec![Step::Save(Box::new(failed_state(state, update, verdict, attempts, now)))];
    steps.extend(mark_bad(update, entries));
    steps.extend(restore(update, entries));
    steps
}

fn to_other(machine: &mut Machine, state: &State, tries: u32) -> Result<RolledBack> {
    machine.running_entry()?;
    let slot = machine.running_slot()?.other();
    let nothing = |why: &str| Err(Error::Nothing(format!("slot {slot} {why}; nothing to roll back to")));
    let is_update = state.update.as_ref().is_some_and(|u| u.slot == slot && u.stage < Stage::Committed);
    // A committed system that is on trial again is both: a rollback that was cut off is repeated.
    if is_update && state.installed(slot).is_none() {
        return nothing("holds an update that was never committed");
    }
    let Some(entry) = machine.entry_of_slot(slot) else { return nothing("has no boot entry") };
    let good = entry.name.counter().is_none() || state.is_known_good(&entry.id());
    if !good {
        return nothing("does not hold a good system");
    }
    let installed = state.installed(slot).filter(|i| i.entry == entry.id());
    let version = entry.version.clone().or_else(|| installed.map(|i| i.version.clone())).unwrap_or_default();
    let digest = installed.and_then(|i| i.digest.clone());
    state.refuse_failed(Some(&version), digest.as_deref())?;
    // Its tries would run out beside a trial.
    disarm(machine)?;
    let state = &machine.state();
    let running = machine.running_entry()?;
    let entry = find(&machine.entries, &entry.id()).cloned().unwrap_or(entry);
    let root = entry.options.as_deref().and_then(RootArg::parse).map(|r| r.to_string()).unwrap_or_default();
    let settings = machine.settings_for_trial();
    let loader = Loader { settings: &settings, quirks: &machine.quirks };
    let plain = entry.renamed(entry.name.with_counter(None));
    let switch = plan_switch(loader, &machine.entries, &plain, &running.id(), tries)?;
    let update = Update {
        image_id: entry.sort_key.clone().unwrap_or_default(),
        version: version.clone(),
        digest: digest.clone(),
        slot,
        stage: Stage::Applied,
        uki: None,
        root,
        entry: entry.id(),
        tries,
        applied_in: machine.boot_id.clone(),
        previous: Some(Previous {
            slot: slot.other(),
            entry: running.id(),
            version: running.version.clone(),
            demoted: switch.demoted.is_some(),
        }),
        boots: vec![],
        verdict: None,
        ended: None,
        counted: false,
    };
    let mut steps = machine.overrides_to_clear();
    let mut state = remember_running(state, slot.other(), &running);
    state.set_installed(slot, Some(Installed { version: version.clone(), digest, entry: entry.id() }));
    steps.extend(plan_to_other(&state, update, &entry, &machine.entries, &switch));
    perform_all(machine, &steps)?;
    Ok(RolledBack::ToOther(version))
}

/// The steps that put a good system on trial. Until the state speaks of the trial its entry
/// waits as `+0-0`: the loader does not come to it, and nobody takes it for tried or kept.
fn plan_to_other(
    state: &State,
    update: Update,
    entry: &Entry,
    entries: &[Entry],
    switch: &Switch,
) -> Vec<Step> {
    let mut steps = vec![];
    let mut entry = entry.clone();
    if entry.name.counter().is_none_or(|c| c.left == 0) {
        let waiting = entry.renamed(entry.name.with_counter(Some(Counter::fresh(0))));
        // That it is good is told by the state alone from here on.
        steps.push(Step::Save(Box::new(state.clone())));
        steps.extend((entry.name != waiting.name).then(|| rename(&entry, waiting.name.file())));
        entry = waiting;
    }
    steps.push(Step::Save(Box::new(State { update: Some(update), ..state.clone() })));
    if entry.name != switch.entry.name {
        steps.push(rename(&entry, switch.entry.name.file()));
    }
    steps.extend(demote(entries, switch));
    steps
}

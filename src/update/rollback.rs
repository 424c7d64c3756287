//! `rollback`: away from the running system.

use crate::boot::names::untried;
use crate::config::Scripts;
use crate::update::WholeMachine;
use crate::update::prepare::Candidate;
use crate::update::root_hash;
use crate::update::standing::{Standing, standing};
use crate::update::startable::{file_of, refuse_unstartable_entry};
use abide_core::boot::Entry;
use abide_core::disk::SlotName;
use abide_core::error::{Error, Result};
use abide_core::state::{Installed, Previous, Stage, State, Update, Verdict};
use abide_core::update::machine::Machine;
use abide_core::update::renames::{find, rename, step_back};
use abide_core::update::rollback::give_up;
use abide_core::update::step::{Step, entries_after, perform_all};

use crate::update::rearm::plan_disarm;
use crate::update::refusal::refuse_failed_system;
use crate::update::switch::{Loader, Switch, demote, plan_switch, refuse_uncounted, remember_running};
use abide_core::update::record;

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
/// [`Error::Nothing`] if there is no good system to go to, [`Error::Refused`] if the loader would boot
/// something else, the firmware would not start it, or a script refuses it, [`Error::Unverified`] if a script has changed it,
/// [`Error::Boot`] if the ESP cannot be changed.
pub fn rollback(
    machine: &mut Machine,
    verdict: Option<Verdict>,
    tries: u32,
    scripts: &Scripts,
) -> Result<RolledBack> {
    if let Some(contradiction) = machine.finding().contradiction() {
        return Err(Error::Refused(format!(
            "cannot determine whether this boot is a trial: {contradiction}"
        )));
    }
    refuse_without_fallback(machine)?;
    let is_forced = verdict.is_some();
    if let Some(version) = give_up(machine, verdict)? {
        return Ok(RolledBack::Trial(version));
    }
    if is_forced {
        return Err(Error::Nothing("no update is on trial; nothing to roll back".into()));
    }
    let plan = plan_to_other(machine, tries, scripts)?;
    perform_all(machine, &plan.steps)?;
    Ok(RolledBack::ToOther(plan.version))
}

/// Refuses to give a trial up by hand if the same system would boot again.
fn refuse_without_fallback(machine: &Machine) -> Result<()> {
    let state = machine.state();
    let Some(update) = state.update.as_ref().filter(|u| machine.is_try_of(u)) else { return Ok(()) };
    if machine.would_lead_elsewhere(&step_back(update, &machine.entries)).is_ok() {
        return Ok(());
    }
    Err(Error::Refused(format!(
        "no other system would boot after {}: its boot entry is missing; `abide list` shows the entries",
        update.version
    )))
}

/// The way to the other system.
#[derive(Debug)]
struct Plan {
    version: String,
    steps: Vec<Step>,
}

/// The system in the other slot.
struct Other {
    entry: Entry,
    version: String,
    digest: Option<String>,
    /// What vouched for it when it was written.
    verified: Option<String>,
    /// Whether its image has no version of its own.
    unversioned: bool,
}

/// Finds the system to go to, and the steps that put it on trial. Nothing is changed here.
fn plan_to_other(machine: &Machine, tries: u32, scripts: &Scripts) -> Result<Plan> {
    let state = machine.state();
    let running = machine.running_entry()?;
    let slot = machine.running_slot()?.other();
    let Other { entry, version, digest, verified, unversioned } = other_system(machine, &state, slot)?;
    refuse_unstartable_entry(machine, &running, &entry)?;
    // Its tries would run out during a trial.
    let (mut steps, state) = plan_disarm(&state, &machine.entries);
    let entries = entries_after(&machine.entries, &steps);
    let after = |entry: Entry| find(&entries, &entry.id()).cloned().unwrap_or(entry);
    let (booted, other) = (running.clone(), entry.clone());
    let (running, entry) = (after(running), after(entry));
    refuse_uncounted(&machine.vars)?;
    let settings = machine.settings_for_trial();
    let loader = Loader { settings: &settings, quirks: &machine.quirks };
    let plain = entry.renamed(entry.name.plain());
    let switch = plan_switch(loader, &entries, &plain, &running.id(), tries)?;
    let previous = Previous {
        slot: slot.other(),
        entry: running.id(),
        version: running.version.clone(),
        demoted: switch.demoted.is_some(),
    };
    let update = record::of_entry(machine, &entry, previous, tries);
    let update = Update {
        version: version.clone(),
        digest: digest.clone(),
        verified: verified.clone(),
        unversioned,
        ..update
    };
    Candidate { update: &update, partition: other.partition, file: &file_of(&other), running: &booted }
        .prepare(machine, scripts, || refuse_unstartable_entry(machine, &booted, &other))?;
    steps.extend(machine.overrides_to_clear());
    let mut state = remember_running(&state, slot.other(), &running);
    let installed = Installed { version: version.clone(), digest, entry: entry.id(), verified, unversioned };
    state.set_installed(slot, Some(installed));
    steps.extend(arm(&state, update, &entry, &entries, &switch));
    Ok(Plan { version, steps })
}

fn other_system(machine: &Machine, state: &State, slot: SlotName) -> Result<Other> {
    let nothing = |why: &str| Err(Error::Nothing(format!("slot {slot} {why}; nothing to roll back to")));
    let is_update = state.update.as_ref().is_some_and(|u| u.slot == slot && u.stage < Stage::Committed);
    // A committed system that is on trial again is both: an interrupted rollback is repeated.
    if is_update && state.installed(slot).is_none() {
        return nothing("holds an update that was never committed");
    }
    let Some(entry) = machine.entry_of_slot(slot) else { return nothing("has no boot entry") };
    if let Some(file) = root_hash::missing(machine, slot) {
        return nothing(&format!("does not boot without its root hash ({file} on the partition roothash)"));
    }
    let installed = state.installed(slot).filter(|i| i.entry == entry.id());
    let version = entry.version.clone().or_else(|| installed.map(|i| i.version.clone())).unwrap_or_default();
    let digest = installed.and_then(|i| i.digest.clone());
    let verified = installed.and_then(|i| i.verified.clone());
    let unversioned = installed.is_some_and(|i| i.unversioned) || entry.unversioned;
    match standing(state, &entry, slot) {
        // It may still help, and it is assessed.
        Standing::Good | Standing::Unhealthy => Ok(Other { entry, version, digest, verified, unversioned }),
        Standing::NeverKept => nothing("does not hold a good system"),
        Standing::Failed => {
            refuse_failed_system(state, Some(&version), digest.as_deref(), &entry.id())?;
            nothing("holds a system that failed")
        }
    }
}

/// The steps that put a good system on trial. Until the state records the trial, its entry is named
/// `+0-0`: the loader does not boot it, and it counts as neither tried nor committed.
fn arm(state: &State, update: Update, entry: &Entry, entries: &[Entry], switch: &Switch) -> Vec<Step> {
    let mut steps = vec![];
    let mut entry = entry.clone();
    if entry.name.counter().is_none_or(|c| c.left == 0) {
        let waiting = entry.renamed(entry.name.with_counter(Some(untried(0))));
        // From here on only the state shows that it is good.
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

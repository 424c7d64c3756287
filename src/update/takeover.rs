//! Takes over an update that EMT's own `os-update-tool.sh` has applied: the one that brings Abide to a machine.
//!
//! That tool makes the old entry the default in an EFI variable, and starts the new one once. Its commit would make the new
//! one the default. Here the names on the ESP decide, as for every update: the variable goes, and where the old entry would
//! sort first, it is demoted. The old system stays bootable and is remembered as good.

use crate::boot::names::untried;
use crate::update::WholeMachine;
use crate::update::applied_by_other::{BLIND, boots_next, clean_up, is_blind, is_left_open};
use crate::update::switch::{Loader, refuse_unless_next};
use abide_core::boot::Entry;
use abide_core::boot::model::choice::{Settings, choose};
use abide_core::boot::model::entry::EntryKind;
use abide_core::boot::model::order::order;
use abide_core::disk::SlotName;
use abide_core::error::{Error, Result};
use abide_core::state::{Baseline, Installed, Previous, State, Update};
use abide_core::update::kernel::os_release;
use abide_core::update::machine::Machine;
use abide_core::update::outcome::committed_state;
use abide_core::update::record;
use abide_core::update::renames::rename;
use abide_core::update::step::{Effects, Step, entries_after, perform_all};

/// What is left of an update of that tool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Takeover {
    /// Nothing.
    Nothing,
    /// The running system boots next already.
    Settled {
        /// Whether a default in a variable leads to it: that tool has set it before it rebooted, so the machine fell back.
        pinned: bool,
        /// What records its commit, if that was cut off.
        steps: Vec<Step>,
    },
    /// The running system is on its only try; after these steps it is committed.
    Open {
        /// Its version.
        version: String,
        /// What commits it.
        steps: Vec<Step>,
    },
}

/// Finds out whether the running system is such an update, and what would commit it. Nothing is changed.
///
/// # Errors
/// [`Error::Refused`] if the running system is not certain, the entry that boots next is not that of the other slot, or
/// the loader would not boot the running system next even then.
pub fn find(machine: &Machine) -> Result<Takeover> {
    if !is_left_open(machine) {
        return Ok(Takeover::Nothing);
    }
    let refused =
        |why: String| Error::Refused(format!("the update of EMT's own tool cannot be committed: {why}"));
    if let Some(doubt) = machine.reconcile().finding.contradiction() {
        return Err(refused(doubt.to_string()));
    }
    let running = machine.running_entry()?;
    if is_blind(machine) {
        return Err(refused(BLIND.into()));
    }
    if boots_next(machine) {
        let pinned = machine.settings.default.is_some();
        return Ok(Takeover::Settled { pinned, steps: if pinned { vec![] } else { unrecorded(machine)? } });
    }
    let settings = Settings { oneshot: None, ..machine.settings.clone() };
    let next = choose(&machine.entries, &settings, &machine.quirks);
    let next = next.ok_or_else(|| refused("the boot loader would find no entry at all".into()))?.entry;
    let slot = machine.running_slot()?;
    if machine.witnesses().slot_of_entry(&next) != Some(slot.other()) {
        let id = next.id();
        return Err(refused(format!(
            "{id} boots next, which is not the system of slot {}; remove it or what pins it (`abide list`)",
            slot.other()
        )));
    }
    if running.name.counter().is_some() {
        return Err(refused(format!("{} has a boot counter, which that tool does not use", running.path())));
    }
    let steps = steps(machine, &running, &next)?;
    Ok(Takeover::Open { version: running.version.clone().unwrap_or_default(), steps })
}

fn steps(machine: &Machine, running: &Entry, next: &Entry) -> Result<Vec<Step>> {
    let slot = machine.running_slot()?;
    let settings = machine.settings_for_trial();
    let loader = Loader { settings: &settings, quirks: &machine.quirks };
    let mut demotions: Vec<Step> = vec![];
    // The switching points: until then the names lead to the old system.
    loop {
        let after = entries_after(&machine.entries, &demotions);
        let Err(why) = refuse_unless_next(loader, &after, &running.name.id()) else { break };
        let first = choose(&after, &settings, &machine.quirks).map(|choice| choice.entry);
        let is_old = |entry: &Entry| {
            entry.name.counter().is_none() && machine.witnesses().slot_of_entry(entry) == Some(slot.other())
        };
        let Some(old) = first.filter(is_old) else { return Err(why) };
        // As after the commit of a downgrade: the state shows that it is good.
        demotions.push(rename(&old, old.name.with_counter(Some(untried(0))).file()));
    }
    let old = old_system(machine, slot.other()).unwrap_or_else(|| next.clone());
    let mut state = machine.state();
    remember(&mut state, machine, running);
    remember(&mut state, machine, &old);
    // A record of an earlier update would be taken for that of this slot.
    state.update = None;
    state.takeover = Some(running.id());
    let is_old = |step: &Step| matches!(step, Step::Rename { from, .. } if *from == old.path());
    let demoted = demotions.iter().any(is_old);
    let committed = committed(&state, machine, running, &old, demoted)?;
    let mut steps = vec![Step::Save(Box::new(state))];
    steps.extend(machine.pins_to_clear());
    steps.extend(demotions);
    steps.push(Step::Save(Box::new(committed)));
    Ok(steps)
}

/// The state once the running system is committed; `old` is the system before it.
fn committed(state: &State, machine: &Machine, running: &Entry, old: &Entry, demoted: bool) -> Result<State> {
    let slot = machine.running_slot()?.other();
    let previous = Previous { slot, entry: old.id(), version: old.version.clone(), demoted };
    let release = os_release(&machine.root);
    let update = Update {
        floor: release.and_then(|release| release.security_epoch),
        ..record::of_entry(machine, running, previous, 0)
    };
    Ok(committed_state(state, &update, &machine.now))
}

/// What records a commit that was cut off once the running system booted next. Nothing if there was none.
///
/// # Errors
/// As [`Machine::running_entry`].
fn unrecorded(machine: &Machine) -> Result<Vec<Step>> {
    let (state, running) = (machine.state(), machine.running_entry()?);
    if state.takeover.as_ref() != Some(&running.id()) {
        return Ok(vec![]);
    }
    let Some(old) = old_system(machine, machine.running_slot()?.other()) else { return Ok(vec![]) };
    let demoted = old.name.counter().is_some();
    let committed = committed(&state, machine, &running, &old, demoted)?;
    Ok(vec![Step::Save(Box::new(committed))])
}

/// The entry by which the old system stays bootable: rather the UKI itself than one that starts it, which is lost where
/// the UKI gets another name.
fn old_system(machine: &Machine, slot: SlotName) -> Option<Entry> {
    let ordered = order(&machine.entries, &machine.quirks);
    let of_slot = |entry: &&Entry| machine.witnesses().slot_of_entry(entry) == Some(slot);
    let found: Vec<&Entry> = ordered.iter().filter(of_slot).collect();
    let uki = found.iter().find(|entry| entry.kind == EntryKind::Uki);
    uki.or(found.first()).map(|entry| (*entry).clone())
}

/// Remembers the system of an entry as a good one; what is known of it stays.
fn remember(state: &mut State, machine: &Machine, entry: &Entry) {
    let Some(slot) = machine.witnesses().slot_of_entry(entry) else { return };
    if state.installed(slot).is_some_and(|known| known.entry == entry.id()) {
        return;
    }
    let version = entry.version.clone().unwrap_or_default();
    let installed = Installed {
        version,
        digest: None,
        entry: entry.id(),
        verified: None,
        unversioned: entry.unversioned,
    };
    state.set_installed(slot, Some(installed));
}

/// Ends an update of which there is nothing to commit.
///
/// # Errors
/// Those of [`Step::Save`].
pub fn close(machine: &mut Machine) -> Result<()> {
    let state = machine.state();
    if state.takeover.is_some() {
        machine.perform(&Step::Save(Box::new(State { takeover: None, ..state })))?;
    }
    clean_up(machine);
    Ok(())
}

/// Commits what [`find`] has found.
///
/// # Errors
/// Those of the steps.
pub fn commit(machine: &mut Machine, steps: &[Step], baseline: Option<Baseline>) -> Result<()> {
    perform_all(machine, steps)?;
    if let Some(baseline) = baseline {
        machine.perform(&Step::Save(Box::new(State { baseline, ..machine.state() })))?;
    }
    clean_up(machine);
    Ok(())
}

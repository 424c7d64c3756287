//! `apply`: makes the staged update boot next, on trial.

use log::{info, warn};

use crate::boot::directory_room::has_room;
use crate::config::Scripts;
use crate::update::WholeMachine;
use crate::update::boot_options;
use crate::update::prepare::Candidate;
use abide_core::boot::{BootPartition, Entry};
use abide_core::error::{Error, OrError, Result};
use abide_core::state::{Baseline, Previous, Stage, State, Update};

use abide_core::update::machine::Machine;
use abide_core::update::renames::{find, rename};
use abide_core::update::step::{STAGED_UKI, Step, perform_all};

use crate::update::refusal::refuse_failed;
use crate::update::staged;
use crate::update::startable::{refuse_unstartable, refuse_unstartable_entry};
use crate::update::switch::{Switch, demote, free_stem, is_taken, plan_trial, remember_running};

/// The result of `apply`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    /// The version on trial from the next boot.
    pub version: String,
    /// The path of its entry.
    pub file: String,
    /// Whether the running entry was demoted for it.
    pub demoted: bool,
}

/// Makes the staged update bootable, with the configured tries. `baseline` is the baseline of the
/// running system, if known.
///
/// # Errors
/// [`Error::Nothing`] if nothing is staged, [`Error::Refused`] if the loader or the firmware would
/// not boot it, the running system is itself on trial, or a script refuses it,
/// [`Error::Unverified`] if the staged UKI is no longer what was written,
/// [`Error::Boot`] if the ESP cannot be changed.
pub fn apply(
    machine: &mut Machine,
    tries: u32,
    baseline: Option<Baseline>,
    scripts: &Scripts,
) -> Result<Applied> {
    machine.refuse_on_trial()?;
    let mut state = machine.state();
    if let Some(baseline) = baseline {
        state.baseline = baseline;
    }
    let update = pending(&state)?;
    refuse_failed(&state, Some(&update.version), update.digest.as_deref())?;
    let running = machine.running_entry()?;
    let installed = find(&machine.entries, &update.entry).filter(|_| update.stage == Stage::Applied).cloned();
    let is_installed = installed.is_some();
    let file = installed.as_ref().map_or_else(|| STAGED_UKI.to_owned(), Entry::path);
    let partition = installed.as_ref().map_or(BootPartition::Esp, |entry| entry.partition);
    verify(machine, update, installed.as_ref(), &running)?;
    let candidate = installed.clone();
    let (new, others) = match installed {
        // Interrupted after the entry appeared: continue from there.
        Some(entry) => {
            let others = machine.entries.iter().filter(|e| e.path() == entry.path() && e.profile > 0);
            (entry.renamed(entry.name.plain()), others.cloned().collect())
        }
        None => {
            let stem = free_stem(&update.image_id, &update.version, |stem| is_taken(stem, &running))?;
            let path = STAGED_UKI;
            let file = machine.dirs.esp.open(path).or_boot(|| format!("{path}: cannot open"))?;
            staged::entries(file, path, machine.quirks.single_quotes, &stem)?
        }
    };
    let switch = plan_trial(machine, &machine.entries, &new, others, &running, tries)?;
    warn_of_two_sectors(machine, &switch.entry);
    boot_options::warn_if_short(machine, tries);
    Candidate { update, partition, file: &file, running: &running }
        .prepare(machine, scripts, || verify(machine, update, candidate.as_ref(), &running))?;
    // In an order that is safe to be interrupted after each step.
    let mut steps = record(&state, update, machine, &switch, &running, tries);
    steps.extend(if is_installed {
        rename_installed(&machine.entries, &switch.entry)
    } else {
        install(&machine.entries, &switch.entry)
    });
    // Last, the switching point: from here on the loader prefers the new entry.
    steps.extend(demote(&machine.entries, &switch));
    perform_all(machine, &steps)?;
    info!("{} is on trial from the next boot as {}", update.version, switch.entry.name);
    Ok(Applied {
        version: update.version.clone(),
        file: switch.entry.path(),
        demoted: switch.demoted.is_some(),
    })
}

/// Checks that the update's UKI, staged or `installed`, is what was written, and that the firmware would start it.
fn verify(machine: &Machine, update: &Update, installed: Option<&Entry>, running: &Entry) -> Result<()> {
    staged::verify_slot(machine, update)?;
    let Some(entry) = installed else {
        staged::verify(machine, update, STAGED_UKI)?;
        let staged = machine.dirs.esp.open(STAGED_UKI).or_boot(|| format!("{STAGED_UKI}: cannot open"))?;
        return refuse_unstartable(machine, running, &update.version, staged);
    };
    // A rollback to the other system has no staged UKI.
    if update.uki.is_some() {
        verify_installed(machine, update, entry)?;
    }
    refuse_unstartable_entry(machine, running, entry)
}

/// Warns if a rename takes two writes: a power cut between them can lose an entry, or show it twice.
fn warn_of_two_sectors(machine: &Machine, new: &Entry) {
    let dir = new.kind.dir();
    let names = machine.dirs.esp.list(dir).unwrap_or_default();
    if !has_room(names.iter().map(|i| i.name.as_str()), new.name.file()) {
        warn!(
            "{dir} on the ESP has too many or too long names for a rename in one write; remove files that are not needed"
        );
    }
}

/// The update that can be applied.
fn pending(state: &State) -> Result<&Update> {
    match &state.update {
        Some(update) if matches!(update.stage, Stage::Staged | Stage::Applied) => Ok(update),
        Some(update) if update.stage == Stage::Writing => Err(Error::Nothing(format!(
            "the write of {} was interrupted; run `abide write` again before `abide apply`",
            update.version
        ))),
        _ => Err(Error::Nothing("no update is staged; `abide write IMAGE` stages one".into())),
    }
}

/// The steps that record the trial.
fn record(
    state: &State,
    update: &Update,
    machine: &Machine,
    switch: &Switch,
    running: &Entry,
    tries: u32,
) -> Vec<Step> {
    let mut steps = machine.overrides_to_clear();
    // The state before the entry: a trial must be recognised as one when it boots.
    let mut next = remember_running(state, update.slot.other(), running);
    next.update = Some(Update {
        stage: Stage::Applied,
        entry: switch.entry.id(),
        tries,
        applied_in: machine.boot_id.clone(),
        boots: vec![],
        verdict: None,
        previous: Some(Previous {
            slot: update.slot.other(),
            entry: running.id(),
            version: running.version.clone(),
            demoted: switch.demoted.is_some(),
        }),
        ..update.clone()
    });
    steps.push(Step::Save(Box::new(next)));
    steps
}

/// Checks that the entry which `apply` was interrupted after is the update's own, and its only one.
fn verify_installed(machine: &Machine, update: &Update, entry: &Entry) -> Result<()> {
    let others: Vec<&Entry> =
        machine.entries.iter().filter(|e| e.id() == entry.id() && e.path() != entry.path()).collect();
    if entry.partition != BootPartition::Esp || !others.is_empty() {
        return Err(Error::Refused(format!(
            "another file has the same entry id as the update, {}; run `abide write` again, which removes it",
            entry.id()
        )));
    }
    staged::verify(machine, update, &entry.path())
}

/// The step that gives the installed entry the name that it has on trial.
fn rename_installed(entries: &[Entry], new: &Entry) -> Vec<Step> {
    let named_otherwise = find(entries, &new.id()).filter(|entry| entry.name != new.name);
    named_otherwise.map(|entry| rename(entry, new.name.file())).into_iter().collect()
}

/// The steps that put the staged UKI in its place. Whatever another tool has put there under its id goes, addons of an
/// older one included: it is not what was verified.
fn install(entries: &[Entry], new: &Entry) -> Vec<Step> {
    let same = entries.iter().filter(|e| e.id() == new.id());
    let mut steps: Vec<Step> =
        same.map(|e| Step::Remove { partition: e.partition, file: e.path() }).collect();
    steps.push(Step::RemoveAddons { id: new.name.id() });
    steps.push(Step::InstallStaged { to: new.name.file().to_owned() });
    steps
}

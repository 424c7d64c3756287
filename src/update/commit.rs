//! `commit`: keeps the system on trial.

use crate::boot::names::untried;
use crate::update::WholeMachine;
use abide_core::boot::Entry;
use abide_core::error::{Error, Result};
use abide_core::state::{Baseline, BootEnd, BootKind, Previous, Stage, State, Update};

use abide_core::update::finding::Kind;
use abide_core::update::machine::Machine;
use abide_core::update::outcome::committed_state;
use abide_core::update::renames::{find, rename};
use abide_core::update::step::{Effects, Step, entries_after, perform_all};

use crate::update::switch::{Loader, refuse_unless_next};
use crate::update::{applied_by_other, staged};

/// Commits the system on trial: its entry loses the counter, and the state records it.
/// Returns the committed version. A repeated commit changes nothing.
///
/// # Errors
/// [`Error::Nothing`] unless the running slot is the one on trial;
/// [`Error::Refused`] if the loader would boot another system from now on;
/// [`Error::Boot`] if the entry cannot be renamed.
pub fn commit(machine: &mut Machine, baseline: Option<Baseline>) -> Result<String> {
    let state = machine.state();
    if let Some(version) = already_committed(&state, machine) {
        if let Some(baseline) = baseline {
            machine.perform(&Step::Save(Box::new(State { baseline, ..state })))?;
        }
        return Ok(version);
    }
    let update = on_trial(&state, machine)?;
    refuse_twin(machine, update)?;
    // An entry that was pinned during the trial would boot another system next.
    let mut steps = machine.pins_to_clear();
    let settings = machine.settings_for_trial();
    let loader = Loader { settings: &settings, quirks: &machine.quirks };
    let plan = Plan {
        state: &state,
        update,
        entries: &machine.entries,
        baseline: baseline.as_ref(),
        now: &machine.now,
    };
    steps.extend(plan.steps_to_boot_next(loader)?);
    let version = update.version.clone();
    perform_all(machine, &steps)?;
    Ok(version)
}

/// Whether the running system waits for its commit; `false` if it is committed already.
///
/// # Errors
/// As [`commit`], if it is not on trial.
pub fn is_open(machine: &Machine) -> Result<bool> {
    let state = machine.state();
    if already_committed(&state, machine).is_some() {
        return Ok(false);
    }
    on_trial(&state, machine).map(|_| true)
}

/// The version on trial in this boot, if its entry was already marked good by someone else.
fn already_committed(state: &State, machine: &Machine) -> Option<String> {
    let was_trial = machine.note.as_ref().is_some_and(|note| note.kind == BootKind::Trial);
    let update = state.update.as_ref().filter(|u| was_trial && u.stage == Stage::Committed)?;
    machine.runs(update).then(|| update.version.clone())
}

/// Refuses if another file has the plain name that the running entry would get: the loader would boot that one. After a
/// rename that was cut off both names lead to one file.
fn refuse_twin(machine: &Machine, update: &Update) -> Result<()> {
    let is_counted = machine.booted_entry().is_some_and(|entry| entry.name.counter().is_some());
    let plain = find(&machine.entries, &update.entry).filter(|entry| entry.name.counter().is_none());
    match plain {
        Some(twin) if is_counted && update.uki.is_some() => staged::verify(machine, update, &twin.path())
            .map_err(|_| {
                Error::Refused(format!(
                    "{} is another file than the update, and would boot in its place; remove it",
                    twin.path()
                ))
            }),
        _ => Ok(()),
    }
}

fn on_trial<'a>(state: &'a State, machine: &Machine) -> Result<&'a Update> {
    if let Some(found) = applied_by_other::uncommitted(machine) {
        return Err(Error::Nothing(format!("no update of Abide's is on trial: {found}")));
    }
    let update = state
        .update
        .as_ref()
        .filter(|u| matches!(u.stage, Stage::Applied | Stage::Testing))
        .ok_or_else(|| Error::Nothing("no update is on trial; nothing to commit".into()))?;
    let doubt = machine.finding().contradiction().cloned().filter(|found| found.kind != Kind::GivenUp);
    if let Some(doubt) = doubt {
        return Err(Error::Refused(format!("{} cannot be committed: {doubt}", update.version)));
    }
    if !machine.runs(update) {
        return Err(Error::Nothing(format!(
            "the running system is not the one on trial ({}); nothing to commit",
            update.version
        )));
    }
    if let Some(verdict) = &update.verdict {
        return Err(Error::Nothing(format!(
            "the trial of {} has already failed: {}",
            update.version, verdict.reason
        )));
    }
    let this_try = update.boots.iter().find(|boot| boot.boot_id == machine.boot_id);
    if let Some(BootEnd::Failed(verdict)) = this_try.and_then(|boot| boot.end.as_ref()) {
        return Err(Error::Nothing(format!("this try of {} has failed: {}", update.version, verdict.reason)));
    }
    Ok(update)
}

/// What a commit is planned from.
struct Plan<'a> {
    state: &'a State,
    update: &'a Update,
    entries: &'a [Entry],
    baseline: Option<&'a Baseline>,
    now: &'a str,
}

impl Plan<'_> {
    /// The steps of a commit after which the loader boots the update: if the previous system would sort first, it
    /// is demoted, as by `apply`.
    ///
    /// # Errors
    /// [`Error::Refused`] with the model's reason, and as [`Plan::steps`].
    fn steps_to_boot_next(&self, loader: Loader<'_>) -> Result<Vec<Step>> {
        let Self { state, update, entries, .. } = *self;
        let steps = self.steps()?;
        let Err(why) = refuse_unless_next(loader, &entries_after(entries, &steps), &update.entry) else {
            return Ok(steps);
        };
        let previous = update.previous.as_ref();
        let Some((previous, entry)) = previous.and_then(|p| Some((p, find(entries, &p.entry)?))) else {
            return Err(why);
        };
        // Before the commit itself: interrupted in between, this looks like an applied downgrade.
        let demoted = Previous { demoted: true, ..previous.clone() };
        let update = Update { previous: Some(demoted), ..update.clone() };
        let state = State { update: Some(update.clone()), ..state.clone() };
        let back = entry.name.with_counter(Some(untried(0)));
        let mut steps = vec![Step::Save(Box::new(state.clone())), rename(entry, back.file())];
        steps.extend(Plan { state: &state, update: &update, ..*self }.steps()?);
        match refuse_unless_next(loader, &entries_after(entries, &steps), &update.entry) {
            Ok(()) => Ok(steps),
            Err(_) => Err(why),
        }
    }

    /// The steps of a commit. The rename is the commit; the rest can be redone after it.
    ///
    /// # Errors
    /// [`Error::Boot`] if the update's entry has disappeared.
    fn steps(&self) -> Result<Vec<Step>> {
        let entry = find(self.entries, &self.update.entry).ok_or_else(|| {
            Error::Boot(format!(
                "the boot entry {} is no longer on the ESP; write the update again",
                self.update.entry
            ))
        })?;
        let mut steps = vec![];
        if entry.name.counter().is_some() {
            steps.push(rename(entry, &entry.name.plain().to_string()));
        }
        let mut next = committed_state(self.state, self.update, self.now);
        if let Some(baseline) = self.baseline {
            next.baseline = baseline.clone();
        }
        steps.push(Step::Save(Box::new(next)));
        Ok(steps)
    }
}

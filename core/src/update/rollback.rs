//! Giving a running trial up.

use log::warn;

use crate::boot::Entry;
use crate::error::Result;
use crate::state::{Phase, State, Update, Verdict};

use crate::update::machine::Machine;
use crate::update::outcome::{excused_state, failed_state, is_outage, tries_used};
use crate::update::renames::{find, step_back};
use crate::update::step::{Effects, Step, perform_all};

/// Gives the running trial up for `verdict` (by default: an operator said so), and returns the version
/// that was given up. `None` if the running system is not on trial; nothing is done then.
///
/// # Errors
/// [`crate::error::Error::Boot`] if the ESP cannot be changed.
pub fn give_up(machine: &mut Machine, verdict: Option<Verdict>) -> Result<Option<String>> {
    let state = machine.state();
    let Some(update) = state.update.as_ref().filter(|u| machine.is_try_of(u)) else {
        return Ok(None);
    };
    let verdict = verdict.unwrap_or_else(|| Verdict {
        phase: update.boots.last().map_or(Phase::Userspace, |b| b.phase.max(Phase::Userspace)),
        reason: "rolled back by hand".into(),
        checks: vec![],
    });
    let steps = plan_give_up(&state, update, &machine.entries, &verdict, &machine.now);
    perform_all(machine, &steps)?;
    unpin(machine);
    Ok(Some(update.version.clone()))
}

/// What somebody pinned in mid-trial, for one boot or for all, would boot what was just given up. What cannot be
/// cleared does not undo the rest; the initramfs stage meets it again.
fn unpin(machine: &mut Machine) {
    for step in machine.overrides_to_clear() {
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
    let next = if is_outage(state, update, verdict) {
        excused_state(state, update, verdict, now)
    } else {
        failed_state(state, update, verdict, attempts, now)
    };
    let mut steps = vec![Step::Save(Box::new(next))];
    steps.extend(step_back(update, entries));
    steps
}

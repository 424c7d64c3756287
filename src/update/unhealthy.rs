//! A committed system that is not healthy: it reboots once, then goes to the other slot if that holds a
//! good system, else stays and reports it. There is no loop: what was tried for a system is remembered
//! until it is healthy again.

use abide_core::boot::Entry;
use abide_core::error::{Error, Result};
use abide_core::state::{Remedy, State, Unhealthy};

use abide_core::update::machine::Machine;
use abide_core::update::step::{Effects, Step};

use crate::config::Scripts;
use crate::update::WholeMachine;
use crate::update::rollback;

/// What to do about an unhealthy system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reaction {
    /// Reboot into the same system.
    Reboot,
    /// The system of this version, in the other slot, is on trial from the next boot.
    GoToOther(String),
    /// Stay: nothing is left to try, for this reason.
    Stay(String),
}

/// The next remedy after the last one.
#[must_use]
fn next(tried: Option<Remedy>) -> Option<Remedy> {
    match tried {
        None => Some(Remedy::Reboot),
        Some(Remedy::Reboot) => Some(Remedy::Leave),
        Some(Remedy::Leave) => None,
    }
}

/// The running system has failed its checks for `reason`, and `open` have not passed: records that and prepares the next remedy. The
/// caller reboots.
///
/// A remedy is recorded before it is tried. Interrupted in between it is not tried again: then the machine
/// stays up, the lesser harm.
///
/// # Errors
/// [`Error::Boot`] if the ESP cannot be changed, and those of finding the running entry. Nothing was
/// changed then.
pub fn fail(
    machine: &mut Machine,
    reason: &str,
    open: Vec<String>,
    tries: u32,
    scripts: &Scripts,
) -> Result<Reaction> {
    let entry = machine.running_entry()?;
    let mut state = machine.state();
    let tried = state.unhealthy.iter().find(|u| u.entry == entry.id()).map(|u| u.tried);
    let Some(remedy) = next(tried) else {
        return Ok(Reaction::Stay(
            "its checks failed before, and the machine has already switched to the other system once".into(),
        ));
    };
    let other = other_is_unhealthy(machine, &state, &entry);
    let (id, time) = (entry.id(), machine.now.clone());
    forget(&mut state, &id, &machine.entries);
    state.unhealthy.push(Unhealthy {
        entry: id,
        tried: remedy,
        reason: reason.to_owned(),
        time,
        checks: open,
    });
    machine.perform(&Step::Save(Box::new(state)))?;
    match remedy {
        Remedy::Reboot => Ok(Reaction::Reboot),
        Remedy::Leave if other => Ok(Reaction::Stay("the other system was not healthy either".into())),
        Remedy::Leave => leave(machine, tries, scripts),
    }
}

fn leave(machine: &mut Machine, tries: u32, scripts: &Scripts) -> Result<Reaction> {
    match rollback::rollback(machine, None, tries, scripts) {
        Ok(rollback::RolledBack::ToOther(version)) => Ok(Reaction::GoToOther(version)),
        Ok(rollback::RolledBack::Trial(_)) => Ok(Reaction::Stay("it is on trial".into())),
        Err(Error::Nothing(why)) => Ok(Reaction::Stay(why)),
        // What refuses it may change: it is tried again when the checks fail in the next boot.
        Err(Error::Refused(why)) => {
            let (id, mut state) = (machine.running_entry()?.id(), machine.state());
            state.unhealthy.iter_mut().filter(|u| u.entry == id).for_each(|u| u.tried = Remedy::Reboot);
            machine.perform(&Step::Save(Box::new(state)))?;
            Ok(Reaction::Stay(why))
        }
        Err(e) => Err(e),
    }
}

/// The running system is healthy: deletes what was recorded of it. Writes nothing if nothing was.
///
/// # Errors
/// As [`fail`].
pub fn pass(machine: &mut Machine) -> Result<()> {
    let mut state = machine.state();
    if state.unhealthy.is_empty() {
        return Ok(());
    }
    let entry = machine.running_entry()?.id();
    forget(&mut state, &entry, &machine.entries);
    machine.perform(&Step::Save(Box::new(state)))
}

fn other_is_unhealthy(machine: &Machine, state: &State, running: &Entry) -> bool {
    let other = machine.running_slot().ok().and_then(|slot| machine.entry_of_slot(slot.other()));
    other.is_some_and(|e| e.id() != running.id() && state.unhealthy.iter().any(|u| u.entry == e.id()))
}

/// Deletes the record of a system, and those of systems that were overwritten.
fn forget(state: &mut State, id: &str, entries: &[Entry]) {
    state.unhealthy.retain(|u| u.entry != id && entries.iter().any(|e| e.id() == u.entry));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_remedy_is_tried_once() {
        let mut tried = None;
        let mut remedies = vec![];
        while let Some(remedy) = next(tried) {
            remedies.push(remedy);
            tried = Some(remedy);
        }
        assert_eq!(remedies, [Remedy::Reboot, Remedy::Leave]);
    }
}

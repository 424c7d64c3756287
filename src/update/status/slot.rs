//! The status of one slot.

use serde::Serialize;

use crate::update::WholeMachine;
use crate::update::root_hash;
use crate::update::standing::{Standing, standing};
use crate::update::status::build;
use abide_core::disk::SlotName;
use abide_core::state::{Stage, State};
use abide_core::text;
use abide_core::update::machine::Machine;

/// One of `slots`
#[derive(Debug, Clone, Serialize)]
pub struct SlotStatus {
    /// `a` or `b`.
    pub name: SlotName,
    /// Whether this boot came from it.
    pub running: bool,
    /// EVE's `unused`, `updating`, `inprogress` or `active`.
    pub state: &'static str,
    /// The version that it holds.
    pub version: Option<String>,
    /// The build that runs, where its image has no version of its own and says which build it is.
    pub build: Option<String>,
    /// SHA-256 of the image that was written to it.
    pub digest: Option<String>,
    /// What vouched for that image.
    pub verified: Option<String>,
    /// Path of its boot entry on the ESP or XBOOTLDR.
    pub entry: Option<String>,
    /// Whether it holds a system that was kept, has not failed since, and has its root hash where it needs one: for the other slot,
    /// whether there is one to go back to.
    pub good: bool,
}

impl SlotStatus {
    /// Reads the status of the slot `name`. `running` is the slot of this boot, if it is known.
    pub(super) fn read(
        machine: &Machine,
        state: &State,
        name: SlotName,
        running: Option<SlotName>,
        on_trial: bool,
    ) -> Self {
        let entry = machine.entry_of_slot(name);
        let update = state.update.as_ref().filter(|u| u.slot == name);
        let in_flight = update.filter(|u| u.stage < Stage::Committed && u.verdict.is_none());
        let is_running = running == Some(name);
        let word = match (is_running, in_flight) {
            (true, _) if on_trial => "inprogress",
            (true, _) => "active",
            (false, Some(_)) => "updating",
            (false, None) => "unused",
        };
        let installed = state.installed(name);
        let shown = entry.as_ref();
        let good = shown
            .is_some_and(|e| matches!(standing(state, e, name), Standing::Good | Standing::Unhealthy))
            && root_hash::missing(machine, name).is_none();
        Self {
            name,
            running: is_running,
            state: word,
            version: in_flight
                .map(|u| u.version.clone())
                .or_else(|| shown.and_then(|e| e.version.as_deref().map(text::line)))
                .or_else(|| installed.map(|i| i.version.clone())),
            build: build::of_running(&machine.root).filter(|_| is_running),
            digest: update
                .filter(|u| u.stage > Stage::Writing)
                .and_then(|u| u.digest.clone())
                .or_else(|| installed.and_then(|i| i.digest.clone())),
            verified: update
                .filter(|u| u.stage > Stage::Writing)
                .and_then(|u| u.verified.clone())
                .or_else(|| installed.and_then(|i| i.verified.clone())),
            entry: shown.map(|e| text::line(&e.path())),
            good,
        }
    }
}

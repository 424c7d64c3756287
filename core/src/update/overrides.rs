//! The EFI variables that override the counters, and which of them Abide clears.

use super::machine::Machine;
use super::step::Step;

/// What the loader asks before the counters, in its order.
const OVERRIDES: [&str; 3] = ["LoaderEntryOneShot", "LoaderEntryPreferred", "LoaderEntryDefault"];

/// The steps that delete what pins an entry for more than one boot.
#[must_use]
pub fn pins_to_clear(machine: &Machine) -> Vec<Step> {
    let one_boot = |step: &Step| matches!(step, Step::ClearVariable { name: "LoaderEntryOneShot" });
    overrides_to_clear(machine).into_iter().filter(|step| !one_boot(step)).collect()
}

/// The steps that delete whatever would override the counters.
#[must_use]
pub fn overrides_to_clear(machine: &Machine) -> Vec<Step> {
    OVERRIDES
        .into_iter()
        .filter(|name| machine.is_override_set(name))
        .map(|name| Step::ClearVariable { name })
        .collect()
}

//! A trial that another tool began (systemd-sysupdate, an installer): taken over as if Abide had begun it.

use crate::boot::Counter;
use crate::boot::model::choice::choose;
use crate::disk::RootArg;
use crate::state::{Previous, Update};

use crate::update::finding::{Kind, Witnesses};
use crate::update::machine::Machine;
use crate::update::record;
use crate::update::renames::rename;
use crate::update::step::entries_after;

/// The trial that runs, as an update of Abide's: its entry has a counter, nothing else is in doubt, and another good
/// system boots if it fails. `None` otherwise. The machine must know its slots.
#[must_use]
pub fn take_over(machine: &Machine) -> Option<Update> {
    let finding = machine.reconcile().finding;
    finding.contradiction().filter(|found| found.kind == Kind::CountedByOther)?;
    let (entry, slot) = (finding.entry?, finding.slot?);
    let Counter { left, done } = entry.name.counter().filter(|_| machine.kexec != Some(true))?;
    entry.options.as_deref().and_then(RootArg::parse)?;
    let used_up = rename(&entry, entry.name.with_counter(Some(Counter { left: 0, done })).file());
    let after = entries_after(&machine.entries, &[used_up]);
    let next = choose(&after, &machine.settings_for_trial(), &machine.quirks)?.entry;
    let is_good = next.name.counter().is_none()
        && Witnesses::root_of(&next).is_some_and(|root| {
            let witnesses = machine.witnesses();
            witnesses.slot_of(&root) == Some(slot.other())
        });
    is_good.then(|| {
        let previous =
            Previous { slot: slot.other(), entry: next.id(), version: next.version.clone(), demoted: false };
        record::of_entry(machine, &entry, previous, left.saturating_add(done))
    })
}

//! A machine with its slots: what the initramfs does not have, and what is asked of a system that runs.

use abide_core::boot::model::order::order;
use abide_core::boot::{Access, Entry};
use abide_core::config::SlotLabels;
use abide_core::disk::{SlotName, Slots};
use abide_core::error::{Error, Result};
use abide_core::root::Root;
use abide_core::update::finding::{Boot, Finding, Identity};
use abide_core::update::guard::Guard;
use abide_core::update::machine::Machine;
use abide_core::update::reconcile::Evidence;
use abide_core::update::step::perform_all;

use crate::disk::mounted_root;
use crate::update::applied_by_other;

/// What the commands ask of a [`Machine`].
pub trait WholeMachine: Sized {
    /// Reads everything. Slots that cannot be found are not an error here, only where they are needed.
    ///
    /// # Errors
    /// [`Error::Boot`] if the ESP cannot be found or read.
    fn read(root: &Root, labels: Option<&SlotLabels>, access: Access) -> Result<Self>;

    /// Reads everything to change it, and finishes or undoes what was interrupted. The caller holds the lock.
    ///
    /// # Errors
    /// As [`WholeMachine::read`], and [`Error::Boot`] if the ESP cannot be changed.
    fn open_to_change(root: &Root, labels: Option<&SlotLabels>) -> Result<Self>;

    /// What this boot is, from all witnesses at once. A system that EMT's own tool has applied is not committed.
    fn finding(&self) -> Finding;

    /// The slot that runs.
    ///
    /// # Errors
    /// [`Error::Failed`] if there are no slots or the running one cannot be told, [`Error::Refused`] if the
    /// witnesses contradict each other.
    fn running_slot(&self) -> Result<SlotName>;

    /// Both slots.
    ///
    /// # Errors
    /// [`Error::Failed`] if there are no two.
    fn slots(&self) -> Result<&Slots>;

    /// The entry that this system was booted from.
    ///
    /// # Errors
    /// [`Error::Refused`] if the witnesses do not agree on one, or it is not among the entries.
    fn running_entry(&self) -> Result<Entry>;

    /// The entry that boots a slot: a good one first, then the newest.
    fn entry_of_slot(&self, slot: SlotName) -> Option<Entry>;

    /// Refuses while the running system is itself on trial, or is not known to be good.
    ///
    /// # Errors
    /// [`Error::Refused`], on a trial with EVE's words for it, else with the contradiction and what to do.
    fn refuse_on_trial(&self) -> Result<()>;
}

impl WholeMachine for Machine {
    fn read(root: &Root, labels: Option<&SlotLabels>, access: Access) -> Result<Self> {
        let mut machine = Self::read_boot(root, access)?;
        let labels = labels.map(|s| (s.a.as_str(), s.b.as_str()));
        match Slots::find(root, labels) {
            Ok(slots) => machine.slots = Some(slots),
            Err(e) => machine.no_slots = Some(e.to_string()),
        }
        if let Some(slots) = &machine.slots {
            machine.mounted = mounted_root::slot(root, slots)?;
        }
        Ok(machine)
    }

    fn open_to_change(root: &Root, labels: Option<&SlotLabels>) -> Result<Self> {
        let mut machine = Self::read(root, labels, Access::Write)?;
        let course = machine.reconcile();
        perform_all(&mut machine, &course.steps)?;
        Ok(machine)
    }

    fn finding(&self) -> Finding {
        let evidence = Evidence { witnesses: self.witnesses(), now: &self.now, panic: None };
        let found = evidence.reconcile().finding;
        match applied_by_other::uncommitted(self) {
            Some(contradiction) if found.contradiction().is_none() => {
                Finding { boot: Boot::Unknown(contradiction), ..found }
            }
            _ => found,
        }
    }

    fn running_slot(&self) -> Result<SlotName> {
        self.slots()?;
        let witnesses = self.witnesses();
        let identity = Identity::of(&witnesses);
        if let Some(doubt) = identity.doubt {
            return Err(Error::Refused(format!("cannot determine the running slot: {doubt}")));
        }
        identity.slot.ok_or_else(|| {
            Error::Failed(
                "cannot tell which slot is running: the kernel's root= names neither of them".into(),
            )
        })
    }

    fn slots(&self) -> Result<&Slots> {
        self.slots.as_ref().ok_or_else(|| {
            let why = self.no_slots.as_deref().unwrap_or("there are no two slots here");
            Error::Failed(why.to_owned())
        })
    }

    fn running_entry(&self) -> Result<Entry> {
        Guard::new(&self.witnesses()).certain().cloned()
    }

    fn entry_of_slot(&self, slot: SlotName) -> Option<Entry> {
        let witnesses = self.witnesses();
        let ordered = order(&self.entries, &self.quirks);
        let mut found = ordered.into_iter().filter(|e| witnesses.slot_of_entry(e) == Some(slot));
        let first = found.next()?;
        Some(if first.name.counter().is_none() {
            first
        } else {
            found.find(|e| e.name.counter().is_none()).unwrap_or(first)
        })
    }

    fn refuse_on_trial(&self) -> Result<()> {
        match self.finding().boot {
            Boot::Committed | Boot::Fallback => Ok(()),
            Boot::Trial { .. } => Err(Error::Refused(
                "the running system is on trial: waiting for it to finish testing before updating again"
                    .into(),
            )),
            Boot::Unknown(contradiction) => {
                Err(Error::Refused(format!("the running system is not known to be good: {contradiction}")))
            }
        }
    }
}

//! What may be done to a machine now: the one place that every change passes which cannot be undone.
//!
//! Before an entry is removed, loses or gets its plain name, or the first byte of a slot is overwritten, it
//! must be certain which system runs, and that system must be known to be good. A change is judged by what
//! is there when it is made, one after the other, and not by what was there when the command began.

use crate::boot::model::name::EntryName;
use crate::boot::{Counter, Entry};
use crate::error::{Error, Result};
use crate::state::Update;

use crate::update::finding::{Contradiction, Identity, Kind, Witnesses};
use crate::update::kept::is_kept;
use crate::update::step::Step;

/// Judges changes by the witnesses of this moment.
#[derive(Debug)]
pub struct Guard<'w, 'a> {
    witnesses: &'w Witnesses<'a>,
    identity: Identity<'a>,
}

impl<'w, 'a> Guard<'w, 'a> {
    /// The guard of a machine on which these are the witnesses.
    #[must_use]
    pub fn new(witnesses: &'w Witnesses<'a>) -> Self {
        Self { witnesses, identity: Identity::of(witnesses) }
    }

    /// The entry of the running system, where it is certain which that is.
    ///
    /// # Errors
    /// [`Error::Refused`] with the contradiction and what to do.
    pub fn certain(&self) -> Result<&'a Entry> {
        if let Some(doubt) = &self.identity.doubt {
            return Err(refused(&format!("cannot determine the running system: {doubt}")));
        }
        self.identity.entry.ok_or_else(|| {
            refused(&format!(
                "no boot entry on the ESP boots the running system, so there would be nothing to fall back \
                 to; {}",
                Kind::NoEntry.row().remedy
            ))
        })
    }

    /// The entry of the running system, where it is certain and known to be good: by its plain name, or
    /// because it is remembered.
    ///
    /// # Errors
    /// As [`Guard::certain`].
    pub fn good(&self) -> Result<&'a Entry> {
        let entry = self.certain()?;
        if entry.name.counter().is_none() || is_kept(self.witnesses.state, entry) {
            return Ok(entry);
        }
        Err(refused(&format!("the running system is not known to be good: {} has a counter", entry.name)))
    }

    /// Whether `step` may be done now.
    ///
    /// # Errors
    /// [`Error::Refused`] with the reason and what to do.
    pub fn permit(&self, step: &Step) -> Result<()> {
        if let Some(why) = self.witnesses.foreign {
            return Err(refused(&Contradiction::new(Kind::ForeignState, why).to_string()));
        }
        match step {
            Step::Save(_) | Step::Sweep | Step::ClearOverride(_) => Ok(()),
            Step::InstallStaged { .. } => self.good().map(drop),
            Step::RemoveAddons { id } => self.good().and_then(|_| self.removal_of_addons(id)),
            Step::Remove { partition, file } => {
                match self.find(|e| e.partition == *partition && e.path() == *file) {
                    Some(entry) => self.removal(entry),
                    None => Ok(()),
                }
            }
            Step::Rename { partition, from, to } => {
                match (self.find(|e| e.partition == *partition && e.path() == *from), EntryName::parse(to)) {
                    (Some(entry), Some(name)) => self.rename(entry, name.counter()),
                    _ => Ok(()),
                }
            }
        }
    }

    fn removal(&self, entry: &Entry) -> Result<()> {
        let running = self.good()?;
        // Profiles of one UKI share its file.
        if entry.name.id() == running.name.id() {
            return Err(refused(&format!(
                "{} is the running system's entry, and is not removed",
                entry.path()
            )));
        }
        match self.find(|other| other.starts_file_of(entry)) {
            Some(other) => Err(refused(&format!(
                "{} is started by {}; remove that entry first, if it is not needed",
                entry.path(),
                other.path()
            ))),
            None => Ok(()),
        }
    }

    /// An entry that is there may boot with its addons only.
    fn removal_of_addons(&self, id: &str) -> Result<()> {
        match self.find(|entry| entry.name.id() == *id) {
            Some(entry) => Err(refused(&format!("{} exists, so its addons are not removed", entry.path()))),
            None => Ok(()),
        }
    }

    fn rename(&self, entry: &Entry, to: Option<Counter>) -> Result<()> {
        match (to, entry.name.counter()) {
            // It was good before, and is called so again.
            (None, Some(counter)) if self.was_good(entry, counter) => Ok(()),
            (None, _) => self.commit(entry),
            (Some(to), _) if to.left == 0 && self.is_given_up(&entry.id()) => Ok(()),
            // What takes the place of a good name must be good itself, or be its trial.
            (Some(_), None) if !self.is_previous(&entry.id()) => self.good().map(drop),
            (Some(_), _) => self.certain().map(drop),
        }
    }

    /// Whether an entry with this counter is that of a system that was kept: it stepped back for another
    /// one, was to be tried again and was not, or its boots are counted.
    fn was_good(&self, entry: &Entry, counter: Counter) -> bool {
        let (state, id) = (self.witnesses.state, entry.id());
        let is_counted = state.update.as_ref().is_some_and(|u| u.is_counted() && u.entry == id);
        let is_untried = counter.done == 0;
        is_kept(state, entry) && (counter.left == 0 || is_untried || is_counted)
    }

    /// Whether this is the entry of the system before the update.
    fn is_previous(&self, id: &str) -> bool {
        let previous = self.witnesses.state.update.as_ref().and_then(|u| u.previous.as_ref());
        previous.is_some_and(|previous| previous.entry == *id)
    }

    /// A plain name for a system that never had one takes evidence from this very boot: it is a try of
    /// that system, and was noted as one.
    fn commit(&self, entry: &Entry) -> Result<()> {
        let running = self.certain()?;
        let is_try = |update: &Update| {
            update.is_open()
                && update.verdict.is_none()
                && update.entry == entry.id()
                && update.boots.iter().any(|boot| boot.boot_id == self.witnesses.boot_id)
        };
        let on_trial = self.witnesses.state.update.as_ref().is_some_and(is_try);
        if on_trial && running.id() == entry.id() && self.witnesses.kexec != Some(true) {
            return Ok(());
        }
        Err(refused(&format!(
            "{} cannot be committed: this boot is not its trial, and the state does not record it as good",
            entry.path()
        )))
    }

    /// Whether the update with this entry was given up.
    fn is_given_up(&self, id: &str) -> bool {
        self.witnesses.state.update.as_ref().is_some_and(|u| u.entry == *id && u.verdict.is_some())
    }

    fn find(&self, is_it: impl Fn(&Entry) -> bool) -> Option<&'a Entry> {
        self.witnesses.entries.iter().find(|entry| is_it(entry))
    }
}

fn refused(why: &str) -> Error {
    Error::Refused(why.to_owned())
}

//! The steps that change the machine.

use log::{info, warn};

use crate::agent::look::MOST_REFUSALS;
use crate::agent::next_step::{Order, Wait};
use crate::agent::{Run, Told};
use crate::events::{Event, Kind, announce};
use crate::feed::policy::Candidate;
use crate::health;
use crate::update::apply;
use crate::update::write::{Wanted, write};
use abide_core::error::{Error, Result};
use abide_core::state::Lock;
use abide_core::update::machine::Machine;
use abide_core::update::reboot;
use abide_core::update::step::{Effects, Step};

impl Run<'_> {
    /// Writes what is in the cache, or in the folder that is followed, into the other slot.
    pub(super) fn write(&mut self, candidate: &Candidate) -> Result<()> {
        let written = self.write_slot(candidate);
        match &written {
            Ok(()) => {
                (self.plan.refused, self.plan.begun) = (0, false);
                self.plan.written = Some(self.seen.polls);
                // It is in the slot, and was read back from there.
                self.cache.sweep(&[])?;
            }
            Err(Error::Busy(_)) => {}
            Err(e) => {
                self.plan.refused = match e {
                    // The same image would be refused again.
                    Error::Refused(_) => MOST_REFUSALS,
                    _ => self.plan.refused.saturating_add(1),
                };
                // What does not fit its digest any more has to be fetched anew.
                if matches!(e, Error::Unverified(_) | Error::Image(_)) && self.is_fetched() {
                    self.cache.sweep(&[])?;
                }
            }
        }
        written
    }

    fn write_slot(&mut self, candidate: &Candidate) -> Result<()> {
        let place = match self.is_fetched() {
            true => self.cache.dir().to_string_lossy().into_owned(),
            false => self.feed.join(""),
        };
        let version = candidate.release.version.clone();
        let _lock = self.lock()?;
        let mut machine = Machine::open_to_change(self.root, self.config.slots.as_ref())?;
        if candidate.retry {
            warn!("{version} failed before, and is tried again");
            let mut state = machine.state();
            state.forgive(&version, &candidate.release.digest);
            machine.perform(&Step::Save(Box::new(state)))?;
        }
        let wanted = Wanted { image: &place, sha256: None, version: Some(&version) };
        let tell = &mut self.tell;
        let written = write(&mut machine, &wanted, self.config, |progress| tell(Told::Writing(progress)))?;
        (self.tell)(Told::Staged(&written));
        if let Some(update) = &machine.state().update {
            announce(self.root, self.config, &Event::of_update(self.root, Kind::Staged, update));
        }
        Ok(())
    }

    /// Makes it boot next.
    pub(super) fn apply(&mut self, candidate: &Candidate) -> Result<()> {
        // From here on a server cannot have it candidate back.
        self.plan.begun = true;
        self.plan.write(self.root)?;
        let _lock = self.lock()?;
        let mut machine = Machine::open_to_change(self.root, self.config.slots.as_ref())?;
        // What passes right now is what the system on trial is measured by. A folder has no services.
        let baseline = self
            .root
            .is_live()
            .then(|| health::baseline::take(self.root, self.config, &machine.state().baseline));
        let applied = apply::apply(&mut machine, self.config.assess.tries, baseline)?;
        if applied.version != candidate.release.version {
            return Err(Error::Failed(format!(
                "{} was staged meanwhile, by somebody else; it boots next",
                applied.version
            )));
        }
        (self.tell)(Told::Applied(&applied.version));
        if let Some(update) = &machine.state().update {
            announce(self.root, self.config, &Event::of_update(self.root, Kind::Applied, update));
        }
        Ok(())
    }

    /// Reboots into it. That it was asked for is remembered first: a loader that boots something else must
    /// not have the machine reboot for ever.
    pub(super) fn reboot(&mut self) -> Result<()> {
        self.plan.reboots = self.plan.reboots.saturating_add(1);
        self.plan.write(self.root)?;
        (self.tell)(Told::Rebooting);
        info!("rebooting into {}", self.plan.version);
        reboot::request(self.root, reboot::Manner::Orderly)
    }

    /// By itself it waits for whoever is at work.
    fn lock(&self) -> Result<Lock> {
        match self.order {
            Order::Follow => Lock::wait(self.root),
            _ => Lock::take(self.root),
        }
    }

    /// Says that an update waits, and for what.
    pub(super) fn tell_of_wait(&self, wait: &Wait) {
        let event = Event::of_running(self.root, Kind::Deferred, &self.plan.version);
        announce(self.root, self.config, &Event { reason: wait.why.clone(), ..event });
    }
}

//! Before the reboot: whether the server still wants it, and whether it is this machine's turn.
//!
//! Both are asked by the part that talks to the network, once the update is in the slot. What it heard
//! it leaves for the part that reboots, which may be held up by it and by nothing else it says.

use std::time::Duration;

use jiff::Timestamp;
use log::warn;

use crate::agent::fleetlock::{Client, Queue};
use crate::agent::next_step::{Turn, Wait};
use crate::agent::source::hawkbit::{Finished, Handling, Milestone};
use crate::agent::survey::{Running, Survey};
use crate::agent::{End, Run};
use crate::config::update::Forced;
use crate::feed::policy::Candidate;
use abide_core::error::Result;

/// After how long it is asked again whose turn it is.
const AGAIN: Duration = Duration::from_secs(60);

impl Run<'_> {
    /// What is found out before anything else: how far a server's order has come since, and whether the turn
    /// for an earlier reboot is over.
    pub(super) fn begin(&mut self) -> Result<()> {
        if !self.powers.network || !self.orders && self.config.update.fleetlock.is_none() {
            return Ok(());
        }
        let survey = self.survey()?;
        if self.orders {
            self.follow_order(&survey);
            self.ledger.write(self.root)?;
            if !self.ledger.waiting.is_empty() {
                let client = self.client()?;
                self.tell_server(&client);
            }
        }
        let queue = Queue::read(self.root);
        let waits = survey.waiting.as_ref().is_some_and(|waiting| waiting.digest == queue.digest);
        if !waits {
            self.give_back(&survey);
        }
        Ok(())
    }

    /// What the servers hear of how the run ended.
    pub(super) fn tell_of_end(&mut self, end: &End) {
        let End::Wait(wait) = end else { return };
        if !self.powers.network {
            return;
        }
        if self.orders && wait.defers && self.ledger.task.is_some() {
            self.ledger.waits(&wait.why, Timestamp::now().as_millisecond());
            match self.client() {
                Ok(client) => self.tell_server(&client),
                Err(e) => warn!("{e}"),
            }
        }
        // Whoever waits for something else does not keep others from their turn.
        if let Ok(survey) = self.survey() {
            self.give_back(&survey);
        }
    }

    /// Gives the turn back, if there is one and the machine is well. What fails here is done the next time.
    fn give_back(&self, survey: &Survey) {
        let Some(config) = &self.config.update.fleetlock else { return };
        let well = survey.running == Running::Committed && !survey.unhealthy;
        if !well || !Queue::read(self.root).asked {
            return;
        }
        if let Err(e) = Client::new(self.root, config).and_then(|client| client.give_back()) {
            warn!("{e}");
        }
    }

    /// Whether anybody has to be asked before this update is booted.
    pub(super) fn turn(&self, digest: &str) -> Turn {
        let queue = self.config.update.fleetlock.is_some().then(|| Queue::read(self.root));
        let ours = queue.is_none_or(|queue| queue.ours && queue.digest == digest);
        match ours && !self.must_ask_server() {
            true => Turn::Ours,
            false => Turn::Ask,
        }
    }

    /// Since the update is in the slot, the server may have thought better of it.
    fn must_ask_server(&self) -> bool {
        self.orders && self.plan.written == Some(self.seen.polls)
    }

    /// Asks; none if it is this machine's turn, and the update is still wanted.
    pub(super) fn ask_for_turn(&mut self, candidate: &Candidate) -> Result<Option<Wait>> {
        if self.must_ask_server() {
            // What comes out of it is seen at the next look.
            return self.poll().map(|()| None);
        }
        let Some(config) = &self.config.update.fleetlock else { return Ok(None) };
        let now = Timestamp::now();
        let queue = Client::new(self.root, config)?.take(&candidate.release.digest, now)?;
        if queue.is_given_up() && self.orders {
            let why = queue.why.clone().unwrap_or_default();
            self.reached(Milestone::Closed, Finished::Failure, vec![why]);
        }
        Ok(queue.why.map(|why| Wait::defer(why, now.checked_add(AGAIN).ok())))
    }

    /// What whoever asked was told, for whoever reboots.
    pub(super) fn held_by_queue(&self, digest: &str, now: Timestamp) -> Option<Wait> {
        if self.powers.network || self.config.update.fleetlock.is_none() {
            return None;
        }
        let queue = Queue::read(self.root);
        let why = queue.why.filter(|_| queue.digest == digest)?;
        Some(Wait::defer(why, now.checked_add(AGAIN).ok()))
    }

    /// Whether the server's "now" is more than the machine's own windows.
    pub(super) fn is_forced(&self) -> bool {
        let by = self.config.update.hawkbit.as_ref().map(|hawkbit| hawkbit.forced);
        let forced = self.ledger.task.as_ref().is_some_and(|task| task.update == Handling::Forced);
        by == Some(Forced::Now) && forced
    }

    /// Whether what is installed lies in the cache.
    pub(super) fn is_fetched(&self) -> bool {
        self.orders || self.feed.is_remote()
    }
}

//! Updates that a machine takes by itself: from the feed, by the policy, in its time.
//!
//! What is done next follows from what is there ([`crate::agent::next_step`]); it is done, and what is next
//! follows from what is there then. Two parts share the steps. The one that talks to the network is
//! not privileged: it fetches into a cache. The other one installs, has no network, and believes nothing
//! that the first one says: signature, policy and digests are checked again, from what is in the cache.
//! By hand, as root, both are one.

mod fetch;
mod fleetlock;
mod inhibit;

mod install;
mod look;
pub mod next_step;
mod privileges;
mod reboot_lock;
mod schedule;
mod source;
mod survey;

use std::path::Path;

use jiff::Timestamp;
use log::{debug, info, warn};

use crate::agent::next_step::{Come, Order, Step, Wait, Wanted, next};
use crate::agent::source::hawkbit::Ledger;
use crate::config::Config;
use crate::events::write_metrics;
use crate::feed::cache::{Cache, Fetched};
use crate::feed::memory::{FetchState, InstallState, WantedRelease};
use crate::feed::policy::Candidate;
use crate::feed::poll;
use crate::image::Folder;
use crate::image::trust::Judge;
use crate::secret::Secret;
use crate::update::write::{Progress, Written};
use abide_core::boot::Access;
use abide_core::error::{Error, Result};
use abide_core::root::Root;
use abide_core::update::Machine;

pub use privileges::Powers;
use schedule::schedule;
pub use survey::Survey;

/// No run takes more steps: each is done once, or fails.
const MOST_STEPS: usize = 16;

/// The next run is never planned for an earlier moment: one that has passed already would not come.
const SOON: std::time::Duration = std::time::Duration::from_secs(5);

/// What there is to show while it runs.
#[derive(Debug)]
pub enum Told<'a> {
    /// This version is to be candidate.
    Wanted(&'a Candidate),
    /// So much of this file is there.
    Fetching(&'a str, Fetched),
    /// So much of the slot is written.
    Writing(Progress),
    /// It is in the slot.
    Staged(&'a Written),
    /// It boots next.
    Applied(&'a str),
    /// The machine reboots.
    Rebooting,
}

/// Where it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// Nothing is configured.
    Off,
    /// Nothing more can be done now.
    Wait(Wait),
    /// The rest is for who has the powers for it.
    Others,
    /// The machine reboots.
    Reboot,
}

/// What came of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Where it ended.
    pub end: End,
    /// What is to be candidate, if anything is.
    pub candidate: Option<Candidate>,
}

/// One run.
struct Run<'a> {
    root: &'a Root,
    config: &'a Config,
    order: Order,
    powers: Powers,
    /// A hawkBit server orders what is installed; there is no feed.
    orders: bool,
    /// The folder that is followed. Where there is none, the cache stands for it.
    feed: Folder,
    cache: Cache,
    judge: Judge,
    seen: FetchState,
    plan: InstallState,
    /// What is remembered of the server that orders.
    ledger: Ledger,
    /// The feed was looked at in this run.
    polled: bool,
    candidate: Option<Candidate>,
    tell: &'a mut dyn FnMut(Told<'_>),
}

/// Does what is to be done now, as far as the powers reach.
///
/// # Errors
/// Those of the step that failed; everything before it is done and remembered.
pub fn run(
    root: &Root,
    config: &Config,
    order: Order,
    powers: Powers,
    tell: &mut dyn FnMut(Told<'_>),
) -> Result<Outcome> {
    let cache = Cache::of(root);
    let orders = config.update.hawkbit.is_some();
    let Some(feed) = followed(root, config, &cache)? else {
        return Ok(Outcome { end: End::Off, candidate: None });
    };
    let remote = orders || feed.is_remote();
    let _lock = match remote && (powers.network || orders && powers.boot) {
        false => None,
        true => match cache.lock() {
            // Whoever fetches has the rest installed afterwards.
            Err(Error::Busy(_)) if !powers.network => {
                return Ok(Outcome { end: End::Others, candidate: None });
            }
            lock => Some(lock?),
        },
    };
    let mut run = Run {
        root,
        config,
        order,
        powers,
        orders,
        feed,
        cache,
        judge: Judge::new(root, &config.trust)?,
        seen: FetchState::read(root),
        plan: InstallState::read(root),
        ledger: if orders { Ledger::read(root) } else { Ledger::default() },
        polled: false,
        candidate: None,
        tell,
    };
    let end = run.begin().and_then(|()| run.steps());
    let end = end.inspect(|end| run.tell_of_end(end));
    let kept = run.keep(&end);
    let end = end?;
    kept.map(|()| Outcome { end, candidate: run.candidate })
}

/// The folder that is followed, or the one that a server's orders are put into.
fn followed(root: &Root, config: &Config, cache: &Cache) -> Result<Option<Folder>> {
    match config.update.hawkbit {
        Some(_) => cache.created_folder().map(Some),
        None => feed(root, config),
    }
}

/// The folder that is followed: a URL, with or without a `/` at its end, or a path of this machine.
fn feed(root: &Root, config: &Config) -> Result<Option<Folder>> {
    let Some(place) = &config.update.feed else { return Ok(None) };
    let is_url = place.contains("://");
    let whole = if is_url { format!("{place}/") } else { root.path(place).to_string_lossy().into_owned() };
    let download = fetch::limits(config);
    let folder = Folder::at(place, &download).filter(|_| is_url).or_else(|| Folder::at(&whole, &download));
    folder.map(Some).ok_or_else(|| Error::Image(format!("{place}: there is no such folder to follow")))
}

/// Leaves what only root can find out for the part that is not privileged.
///
/// # Errors
/// As [`Survey::of`], and if it cannot be written.
pub fn leave_survey(root: &Root, config: &Config) -> Result<()> {
    if config.update.source().is_none() {
        return Ok(());
    }
    Survey::withdraw(root)?;
    Survey::of(&Machine::survey(root, config.slots.as_ref(), Access::Read)?, config)?.leave(root)
}

/// Lets the user of the unit whose first step this is have the cache, and what opens the server's door.
///
/// # Errors
/// [`Error::Failed`] if it cannot be given; those of reading a token.
pub fn hand_over(root: &Root, config: &Config) -> Result<()> {
    if config.update.source().is_none() {
        return Ok(());
    }
    if let Some(token) = config.update.hawkbit.as_ref().and_then(|hawkbit| hawkbit.token.as_ref()) {
        Secret::hand_over(root, Path::new(token.file()))?;
    }
    survey::hand_over(root)
}

impl Run<'_> {
    fn steps(&mut self) -> Result<End> {
        for _ in 0..MOST_STEPS {
            let look = self.look()?;
            if let Some(candidate) = &look.candidate {
                self.wants(candidate);
            }
            self.candidate = look.candidate.clone();
            if let Some(verdict) = look.verdict.filter(|_| self.powers.network && self.polled) {
                self.close_with(verdict)?;
                continue;
            }
            if let (Wanted::Release(Come::Staged | Come::Applied), true) =
                (&look.facts.wanted, self.powers.is_root())
            {
                self.is_ready(look.facts.now);
            }
            let step = next(&look.facts);
            debug!("{step:?}");
            if !self.powers.has(&step) {
                return Ok(End::Others);
            }
            match (&step, &look.candidate) {
                (Step::Wait(wait), candidate) => {
                    if candidate.is_none() && !wait.defers && self.powers.network {
                        self.seen.wanted = None;
                        self.cache.sweep(&[])?;
                    }
                    return Ok(End::Wait(wait.clone()));
                }
                (Step::Poll, _) => self.poll()?,
                (Step::Fetch, Some(candidate)) => self.fetch(candidate)?,
                (Step::Write, Some(candidate)) => self.write(candidate)?,
                (Step::Apply, Some(candidate)) => self.apply(candidate)?,
                (Step::Reboot, Some(_)) => {
                    self.reboot()?;
                    return Ok(End::Reboot);
                }
                (Step::AskForTurn, Some(candidate)) => {
                    if let Some(wait) = self.ask_for_turn(candidate)? {
                        return Ok(End::Wait(wait));
                    }
                }
                (step, None) => {
                    return Err(Error::Failed(format!("{step:?}, but nothing is to be candidate")));
                }
            }
        }
        Err(Error::Failed("an update does not get any further; `abide status` shows where it stands".into()))
    }

    /// Notes what is on its way.
    fn wants(&mut self, candidate: &Candidate) {
        let release = &candidate.release;
        if self.plan.digest != release.digest {
            (self.tell)(Told::Wanted(candidate));
        }
        self.plan.set_release(&release.version, &release.digest);
        if let Some(task) = &mut self.ledger.task {
            task.digest = Some(release.digest.clone());
        }
        if self.seen.wanted.as_ref().is_none_or(|wanted| wanted.digest != release.digest) {
            info!("{} is to be candidate", release.version);
            self.seen.wanted = Some(WantedRelease {
                version: release.version.clone(),
                digest: release.digest.clone(),
                found: Timestamp::now().as_second(),
                percent: 0,
            });
        }
    }

    /// Notes since when it could have been applied.
    fn is_ready(&mut self, now: Timestamp) {
        let since = self.ready_at(&self.plan.digest, now).unwrap_or(now);
        self.plan.ready = Some(since.as_second());
    }

    fn poll(&mut self) -> Result<()> {
        self.seen.tried = Some(Timestamp::now().as_second());
        self.polled = true;
        let looked = match (self.orders, self.feed.is_remote()) {
            (true, _) => self.poll_server(),
            (_, true) => poll::poll(&self.feed, &self.cache, &self.judge).map(drop),
            (_, false) => poll::read(&self.feed, &self.judge).map(drop),
        };
        match looked {
            Ok(()) => {
                (self.seen.polled, self.seen.failures, self.seen.error) = (self.seen.tried, 0, None);
                self.seen.polls = self.seen.polls.wrapping_add(1);
                self.seen.write(self.root)
            }
            Err(e) => {
                self.failed(&e);
                Err(e)
            }
        }
    }

    /// Remembers why the feed could not be followed.
    fn failed(&mut self, e: &Error) {
        self.seen.failures = self.seen.failures.saturating_add(1);
        self.seen.error = Some(e.to_string());
        self.seen.tried = Some(Timestamp::now().as_second());
    }

    /// Remembers where things stand.
    fn keep(&mut self, end: &Result<End>) -> Result<()> {
        if self.powers.network {
            self.seen.write(self.root)?;
            if self.orders {
                self.ledger.write(self.root)?;
            }
        }
        if !self.powers.is_root() || self.order == Order::Check {
            return Ok(());
        }
        let wait = match end {
            Ok(End::Wait(wait)) if wait.defers => Some(wait.clone()),
            Ok(_) => None,
            Err(e) => self.candidate.as_ref().map(|_| Wait::defer(e.to_string(), None)),
        };
        let is_new = self.plan.waiting.as_ref() != wait.as_ref().map(|w| &w.why);
        self.plan.waiting = wait.as_ref().map(|w| w.why.clone());
        self.plan.until = wait.as_ref().and_then(|w| w.until).map(Timestamp::as_second);
        self.plan.write(self.root)?;
        if let Some(wait) = wait.filter(|_| is_new && self.candidate.is_some()) {
            self.tell_of_wait(&wait);
        }
        if let Err(e) = write_metrics(self.root, self.config) {
            warn!("{e}");
        }
        let is_last = self.powers.boot || end.is_err();
        if !self.powers.network && is_last && self.root.is_live() && !matches!(end, Ok(End::Reboot)) {
            let now = Timestamp::now();
            schedule(self.next_moment(end.as_ref().ok(), now).max(now + SOON));
        }
        Ok(())
    }
}

//! The loop of a run: observe, decide, do.

use std::path::PathBuf;

use jiff::Timestamp;
use log::{debug, info, warn};

use crate::agent::clock::Clock;
use crate::agent::context::RunContext;
use crate::agent::cost::{Cost, cost_in_parts};
use crate::agent::end::{End, RunResult, deferral, next_run};
use crate::agent::fetch::Fetcher;
use crate::agent::goal::{Goal, ReleaseState, Subject, Wait};
use crate::agent::install::{self, apply_release, write_release};
use crate::agent::learn;
use crate::agent::memory::AgentMemory;
use crate::agent::mode::Mode;
use crate::agent::next_step::{Inputs, NextStep, next_step};
use crate::agent::notice::Notice;
use crate::agent::observe::{observe, survey};
use crate::agent::privileges::Privileges;
use crate::agent::reboot_lock;
use crate::agent::schedule::schedule;
use crate::agent::source;
use crate::agent::source::{News, UpdateSource};
use crate::agent::survey::Survey;
use crate::agent::timing::{poll_at, ready_since};
use crate::agent::view::Resources;
use crate::config::Config;
use crate::events::{Event, EventKind, publish, write_metrics};
use crate::feed::attempts::Attempts;
use crate::feed::cache::Cache;
use crate::feed::catalog::Release;
use crate::feed::memory::{InstallState, WantedRelease};
use crate::feed::ownership::claim;
use crate::feed::policy::Candidate;
use crate::image::trust::{Installer, Verifier};
use abide_core::error::{Error, Result};
use abide_core::root::Root;

/// The most steps of a run. Each step is done once, so that a complete update needs fewer.
const MAX_STEPS: usize = 16;

/// The next run is scheduled no earlier than this: a timer for a time in the past would not start.
const EARLIEST: std::time::Duration = std::time::Duration::from_secs(5);

/// A run.
struct AgentRun<'a> {
    source: Box<dyn UpdateSource + 'a>,
    resources: Resources<'a>,
    /// Whether this run has polled the source.
    polled: bool,
    candidate: Option<Candidate>,
    notify: &'a mut dyn FnMut(Notice<'_>),
}

/// Does all steps that are due, as far as the privileges allow. `early`: before this machine's turn in a rollout, too.
///
/// # Errors
/// Those of the step that failed. The steps before it are done and remembered.
pub fn run(
    root: &Root,
    config: &Config,
    mode: Mode,
    privileges: Privileges,
    early: bool,
    notify: &mut dyn FnMut(Notice<'_>),
) -> Result<RunResult> {
    let context = RunContext { root, config, mode, privileges, early };
    let cache = Cache::of(root);
    let Some(mut source) = source::open(context, &cache)? else {
        return Ok(RunResult { end: End::Off, candidate: None, cost: Cost::default() });
    };
    let is_cached = source.local_folder().is_none();
    let _lock = match is_cached.then(|| cache.lock()) {
        // The part that fetches has the update installed afterwards.
        Some(Err(Error::Busy(_))) if !privileges.network => {
            return Ok(RunResult { end: End::Unprivileged, candidate: None, cost: Cost::default() });
        }
        lock => lock.transpose()?,
    };
    if is_cached {
        claim(&cache)?;
    }
    source.load();
    let verifier = Verifier::new(root, &config.trust, Installer::Agent)?;
    let memory = AgentMemory::read(root);
    let resources = Resources { context, cache, verifier, memory };
    let mut run = AgentRun { source, resources, polled: false, candidate: None, notify };
    let end = run.begin().and_then(|()| run.steps());
    if let Ok(End::Wait(wait)) = &end {
        run.report_wait(wait);
    }
    let remembered = run.remember(&end);
    let end = end?;
    remembered?;
    let AgentRun { candidate, source, resources, .. } = run;
    let cost = candidate.as_ref().map(|candidate| cost(&*source, &resources, &candidate.release));
    Ok(RunResult { end, candidate, cost: cost.unwrap_or_default() })
}

/// The bytes of a release; for a check also what is to be fetched.
fn cost(source: &dyn UpdateSource, resources: &Resources<'_>, release: &Release) -> Cost {
    let Resources { context, cache, memory, .. } = resources;
    let folder = source.local_folder();
    let is_asked = context.mode == Mode::Check && context.privileges.network && folder.is_none();
    let in_parts = || {
        let running = survey(*context).ok()?.version;
        cost_in_parts(source, cache, &memory.fetch, release, &running)
    };
    is_asked.then(in_parts).flatten().unwrap_or_else(|| {
        let folder = folder.map_or_else(|| cache.dir().to_owned(), PathBuf::from);
        Cost { size: release.files.size(&folder), ..Cost::default() }
    })
}

impl AgentRun<'_> {
    /// Catches up with what has happened since the last run.
    fn begin(&mut self) -> Result<()> {
        if !self.resources.context.tells_servers() {
            return Ok(());
        }
        let survey = survey(self.resources.context)?;
        self.source.report(News::Machine(&survey))?;
        reboot_lock::release_if_unused(self.resources.context, &survey);
        Ok(())
    }

    fn steps(&mut self) -> Result<End> {
        for _ in 0..MAX_STEPS {
            let survey = survey(self.resources.context)?;
            let clock = Clock::read(self.resources.context.root);
            let inputs = observe(&self.resources.view(&survey, &clock, self.polled), &*self.source)?;
            self.note(&inputs)?;
            let step = next_step(&inputs);
            debug!("{step:?}");
            if let Some(end) = self.perform(step, &survey, &clock)? {
                return Ok(end);
            }
        }
        Err(Error::Failed(format!("the update is not complete after {MAX_STEPS} steps; see `abide status`")))
    }

    /// Does a step; returns how the run ends, if it does.
    fn perform(&mut self, step: NextStep, survey: &Survey, clock: &Clock) -> Result<Option<End>> {
        match step {
            NextStep::Leave => return Ok(Some(End::Unprivileged)),
            NextStep::Wait(wait) => {
                self.forget_unwanted(&wait)?;
                return Ok(Some(End::Wait(wait)));
            }
            NextStep::Poll => self.poll(survey, clock)?,
            NextStep::Answer(ending) => self.source.report(News::Ended(&ending))?,
            NextStep::Fetch(candidate) => {
                let (root, state) = (self.resources.context.root, &mut self.resources.memory.fetch);
                let mut fetcher = Fetcher { root, cache: &self.resources.cache, state, notify: self.notify };
                fetcher.fetch(&mut *self.source, &candidate, &survey.version)?;
            }
            NextStep::Write(candidate) => {
                let from = match self.source.local_folder() {
                    Some(folder) => install::InstallFrom::Folder(folder),
                    None => install::InstallFrom::Cache(&self.resources.cache),
                };
                let source = install::Source { from, list_name: self.source.list_name() };
                write_release(
                    self.resources.context,
                    &source,
                    &mut self.resources.memory,
                    &candidate,
                    self.notify,
                )?;
            }
            NextStep::AcquireLock(candidate) => return self.acquire_lock(&candidate),
            NextStep::Apply(candidate) => {
                apply_release(
                    self.resources.context,
                    &mut self.resources.memory.install,
                    &candidate,
                    self.notify,
                )?;
            }
            NextStep::Reboot(_) => {
                install::reboot(self.resources.context, &mut self.resources.memory.install)?;
                return Ok(Some(End::Reboot));
            }
        }
        Ok(None)
    }

    /// Remembers the wanted release, and since when it could be applied.
    fn note(&mut self, inputs: &Inputs) -> Result<()> {
        let Goal::Release(candidate, state) = &inputs.wanted else {
            self.candidate = None;
            return Ok(());
        };
        let release = &candidate.release;
        self.candidate = Some(candidate.clone());
        let AgentMemory { fetch, install } = &mut self.resources.memory;
        install.set_release(&release.version, &release.digest);
        if fetch.wanted.as_ref().is_none_or(|wanted| wanted.digest != release.digest) {
            info!("{} will be installed", release.version);
            fetch.wanted = Some(WantedRelease {
                version: release.version.clone(),
                digest: release.digest.clone(),
                found: Timestamp::now().as_second(),
                ..WantedRelease::default()
            });
        }
        if *state >= ReleaseState::Staged && self.resources.context.privileges.is_root() {
            let since = ready_since(install, &release.digest, inputs.now).unwrap_or(inputs.now);
            install.ready = Some(since.as_second());
        }
        self.source.report(News::Selected(release))
    }

    /// Drops what was fetched, if it is decided that no release is wanted.
    fn forget_unwanted(&mut self, wait: &Wait) -> Result<()> {
        let context = self.resources.context;
        if self.candidate.is_some() || wait.defers || !context.privileges.network {
            return Ok(());
        }
        // Without a poll only the list that was read last says it.
        let is_decided = match wait.subject {
            Subject::Undecided => false,
            Subject::Other => self.polled,
            Subject::UpToDate | Subject::NoImage | Subject::Held => true,
        };
        if !is_decided {
            return Ok(());
        }
        self.resources.memory.fetch.wanted = None;
        // A check changes no more than what `abide status` shows.
        if context.mode == Mode::Check { Ok(()) } else { self.resources.cache.sweep(&[]) }
    }

    fn poll(&mut self, survey: &Survey, clock: &Clock) -> Result<()> {
        self.resources.memory.fetch.tried = Some(Timestamp::now().as_second());
        self.polled = true;
        let polled = self.source.poll(&self.resources.view(survey, clock, self.polled));
        let state = &mut self.resources.memory.fetch;
        match polled {
            Ok(()) => {
                if self.source.has_new_order() {
                    state.attempts = Attempts::default();
                }
                state.set_polled(self.resources.context.mode != Mode::Check);
                state.write(self.resources.context.root)
            }
            Err(e) => {
                state.set_failed(&e);
                Err(e)
            }
        }
    }

    fn acquire_lock(&mut self, candidate: &Candidate) -> Result<Option<End>> {
        let Some(refused) = reboot_lock::acquire(self.resources.context, &candidate.release.digest)? else {
            return Ok(None);
        };
        if refused.given_up {
            self.source.report(News::Failed(&refused.wait.why))?;
        }
        Ok(Some(End::Wait(refused.wait)))
    }

    /// Tells the source that the update waits, and releases the reboot lock meanwhile.
    fn report_wait(&mut self, wait: &Wait) {
        if !self.resources.context.tells_servers() {
            return;
        }
        if wait.defers
            && let Err(e) = self.source.report(News::Deferred(&wait.why))
        {
            warn!("{e}");
        }
        if let Ok(survey) = survey(self.resources.context) {
            reboot_lock::release(self.resources.context, &survey);
        }
    }

    /// Writes what the next runs need, and schedules the next one.
    fn remember(&mut self, end: &Result<End>) -> Result<()> {
        let RunContext { root, config, mode, privileges, .. } = self.resources.context;
        if privileges.network {
            self.resources.memory.fetch.write(root)?;
            self.source.save()?;
        }
        if !privileges.is_root() {
            return Ok(());
        }
        if mode == Mode::Check {
            return self.remember_answer(end);
        }
        self.learn();
        learn::announce_expiry(self.resources.context, &mut self.resources.memory.install);
        let wait = deferral(end, self.candidate.is_some());
        if let Ok(End::Wait(wait)) = end {
            self.resources.memory.install.no_image = wait.subject == Subject::NoImage;
        }
        let install = &mut self.resources.memory.install;
        install.set_waiting(wait.as_ref().map(|wait| (wait.why.as_str(), wait.until)));
        let is_new = install.set_announced();
        install.write(root)?;
        if let Some(wait) = wait.filter(|_| is_new && self.candidate.is_some()) {
            let event = Event::of_running(root, EventKind::Deferred, &self.resources.memory.install.version);
            publish(root, config, &Event { reason: wait.why, ..event });
        }
        if let Err(e) = write_metrics(root, config) {
            warn!("{e}");
        }
        // The part that ends a cycle of the units schedules the next one.
        let is_last = !privileges.network && (privileges.boot || end.is_err());
        if is_last && root.is_live() && !matches!(end, Ok(End::Reboot)) {
            self.schedule_next(end.as_ref().ok());
        }
        Ok(())
    }

    /// Remembers the answer to a check, for `abide status`; not what concerns the release that is being installed.
    fn remember_answer(&self, end: &Result<End>) -> Result<()> {
        let root = self.resources.context.root;
        let mut install = InstallState::read(root);
        let candidate = self.candidate.as_ref().map(|candidate| candidate.release.digest.as_str());
        let Ok(End::Wait(wait)) = end else { return Ok(()) };
        if candidate == Some(install.digest.as_str()) {
            return Ok(());
        }
        let told = deferral(end, candidate.is_some());
        install.no_image = wait.subject == Subject::NoImage;
        install.set_waiting(told.as_ref().map(|wait| (wait.why.as_str(), wait.until)));
        install.write(root)
    }

    /// Remembers the list that was read, so that an older one is refused from now on, and changes the keys as it says.
    fn learn(&self) {
        let context = self.resources.context;
        if !context.privileges.write {
            return;
        }
        let learned = survey(context).and_then(|survey| {
            let clock = Clock::read(context.root);
            let lessons = self.source.lessons(&self.resources.view(&survey, &clock, self.polled));
            lessons.lists.map_or(Ok(()), |lists| learn::remember_lists(context, lists))?;
            lessons.keys.map_or(Ok(()), |keys| learn::change_keys(context.root, &context.config.trust, &keys))
        });
        if let Err(e) = learned {
            warn!("cannot learn from the list of images: {e}");
        }
    }

    fn schedule_next(&self, end: Option<&End>) {
        let clock = Clock::read(self.resources.context.root);
        let (rules, state) = (&self.resources.context.config.update, &self.resources.memory.fetch);
        let poll_at = poll_at(&clock, rules, &self.source.demands(), state);
        let next = next_run(end, clock.now, poll_at, state.failures == 0, rules.interval);
        schedule(next.max(clock.now + EARLIEST));
    }
}

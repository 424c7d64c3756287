//! What a step is decided from.

use crate::agent::clock::Clock;
use crate::agent::context::RunContext;
use crate::agent::give_up::given_up;
use crate::agent::goal::{ReleaseState, Wait};
use crate::agent::memory::AgentMemory;
use crate::agent::survey::Survey;
use crate::feed::cache::Cache;
use crate::feed::catalog::Release;
use crate::image::trust::Verifier;

/// What a run uses in every step.
pub struct Resources<'a> {
    /// What the run works with.
    pub context: RunContext<'a>,
    /// What is fetched.
    pub cache: Cache,
    /// What verifies it.
    pub verifier: Verifier,
    /// What is remembered.
    pub memory: AgentMemory,
}

impl Resources<'_> {
    /// The view before a step.
    pub fn view<'v>(&'v self, survey: &'v Survey, clock: &'v Clock, polled: bool) -> View<'v> {
        let Self { context, cache, verifier, memory } = self;
        View { context: *context, survey, memory, cache, verifier, clock, polled }
    }
}

/// What the next step is decided from. Read-only.
#[derive(Clone, Copy)]
pub struct View<'a> {
    /// What the run works with.
    pub context: RunContext<'a>,
    /// The machine.
    pub survey: &'a Survey,
    /// What is remembered.
    pub memory: &'a AgentMemory,
    /// What is fetched.
    pub cache: &'a Cache,
    /// What verifies it.
    pub verifier: &'a Verifier,
    /// The time.
    pub clock: &'a Clock,
    /// Whether this run has polled the source.
    pub polled: bool,
}

impl View<'_> {
    /// How far a release has come; [`ReleaseState::Fetched`] if it is in the cache.
    pub fn state_of(&self, release: &Release) -> ReleaseState {
        let waiting = self.survey.waiting.as_ref().filter(|waiting| waiting.digest == release.digest);
        match waiting.map(|waiting| waiting.applied) {
            Some(true) => ReleaseState::Applied,
            Some(false) => ReleaseState::Staged,
            None if self.memory.fetch.has_release(self.cache, release) => ReleaseState::Fetched,
            None => ReleaseState::Remote,
        }
    }

    /// Why a scheduled run no longer tries to install a release.
    pub fn given_up(&self, release: &Release) -> Option<Wait> {
        let waiting = self.survey.waiting.as_ref();
        given_up(self.context.mode, &self.memory.install, waiting, release, self.clock.now)
    }
}

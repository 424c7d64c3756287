//! What a run remembers of the runs before it.

use crate::feed::memory::{FetchState, InstallState};
use abide_core::root::Root;

/// What both parts of the agent remember. Each part writes its own state only.
#[derive(Debug, Clone)]
pub struct AgentMemory {
    /// Of the unprivileged part.
    pub fetch: FetchState,
    /// Of the privileged part.
    pub install: InstallState,
}

impl AgentMemory {
    /// The memory of `root`.
    pub fn read(root: &Root) -> Self {
        Self { fetch: FetchState::read(root), install: InstallState::read(root) }
    }
}

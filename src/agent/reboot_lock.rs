//! The reboot lock of FleetLock: acquired before the reboot, released after the commit or the rollback.
//!
//! The part of the agent with network acquires it once the update is in the slot, and leaves the result for the
//! part that reboots.

use std::time::Duration;

use jiff::Timestamp;
use log::warn;

use crate::agent::context::RunContext;
use crate::agent::fleetlock::{LockClient, LockState};
use crate::agent::goal::Wait;
use crate::agent::next_step::RebootLock;
use crate::agent::survey::Survey;
use crate::feed::policy::TrialState;
use abide_core::error::Result;

/// How often the lock is requested again.
const RETRY: Duration = Duration::from_secs(60);

/// Why the lock was not granted.
pub struct NotGranted {
    /// The wait for the next request.
    pub wait: Wait,
    /// Whether the server was unreachable for too long, so that the update counts as failed.
    pub given_up: bool,
}

/// Whether the machine has the lock that it needs to boot the update with this digest.
pub fn state(context: RunContext<'_>, digest: &str) -> RebootLock {
    if context.config.update.fleetlock.is_none() {
        return RebootLock::Held;
    }
    let state = LockState::read(context.root);
    if state.granted && state.digest == digest { RebootLock::Held } else { RebootLock::Needed }
}

/// Requests the lock; none if it is granted or not needed.
///
/// # Errors
/// As [`LockClient::new`] and [`LockClient::acquire`].
pub fn acquire(context: RunContext<'_>, digest: &str) -> Result<Option<NotGranted>> {
    let Some(config) = &context.config.update.fleetlock else { return Ok(None) };
    let now = Timestamp::now();
    let state = LockClient::new(context.root, config)?.acquire(digest, now)?;
    Ok(state.why.map(|why| NotGranted { wait: wait(why, now), given_up: state.given_up }))
}

/// For a run without network: why the lock was not granted to the part with network.
pub fn hold(context: RunContext<'_>, digest: &str, now: Timestamp) -> Option<Wait> {
    if context.privileges.network || context.config.update.fleetlock.is_none() {
        return None;
    }
    let state = LockState::read(context.root);
    state.why.filter(|_| state.digest == digest).map(|why| wait(why, now))
}

/// Releases the lock that was acquired for an update which no longer waits for the reboot.
pub fn release_if_unused(context: RunContext<'_>, survey: &Survey) {
    let digest = LockState::read(context.root).digest;
    let is_used = survey.waiting.as_ref().is_some_and(|waiting| waiting.digest == digest);
    if !is_used {
        release(context, survey);
    }
}

/// Releases the lock if the machine may hold it and is healthy. If that fails, the next run tries again.
pub fn release(context: RunContext<'_>, survey: &Survey) {
    let Some(config) = &context.config.update.fleetlock else { return };
    let is_healthy = survey.trial == TrialState::Committed && !survey.unhealthy;
    if !is_healthy || !LockState::read(context.root).requested {
        return;
    }
    if let Err(e) = LockClient::new(context.root, config).and_then(|client| client.release()) {
        warn!("{e}");
    }
}

fn wait(why: String, now: Timestamp) -> Wait {
    Wait::defer(why, now.checked_add(RETRY).ok())
}

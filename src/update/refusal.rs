//! The refusal of an image that failed before.

use abide_core::error::{Error, Result};
use abide_core::state::State;

use crate::update::phase;

/// Refuses an image of this version or with this digest if it failed before.
///
/// # Errors
/// [`Error::Refused`] with the phase and the reason of the failure, and the command that lifts the refusal.
pub fn refuse_failed(state: &State, version: Option<&str>, digest: Option<&str>) -> Result<()> {
    state.failure_of(version, digest).map_or(Ok(()), |failure| {
        Err(Error::Refused(format!(
            "{} failed before (phase {}: {}); `abide forget {0}` allows another attempt",
            failure.version,
            phase::word(failure.phase),
            failure.reason
        )))
    })
}

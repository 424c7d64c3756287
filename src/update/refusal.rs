//! The refusal of an image that failed before.

use abide_core::error::{Error, Result};
use abide_core::state::{Failure, State};

use crate::update::phase;

/// The record that forbids an image of this version or with this digest.
#[must_use]
pub fn failure_of<'s>(state: &'s State, version: Option<&str>, digest: Option<&str>) -> Option<&'s Failure> {
    state.failures.iter().rev().find(|failure| !failure.forgiven && failure.is_of(version, digest))
}

/// Refuses an image of this version or with this digest if it failed before.
///
/// # Errors
/// [`Error::Refused`] with the phase and the reason of the failure, and the command that lifts the refusal.
pub fn refuse_failed(state: &State, version: Option<&str>, digest: Option<&str>) -> Result<()> {
    failure_of(state, version, digest).map_or(Ok(()), |failure| {
        Err(Error::Refused(format!(
            "{} failed before (phase {}: {}); `abide forget {0}` allows another attempt",
            failure.version,
            phase::word(failure.phase),
            failure.reason
        )))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use abide_core::state::Phase;

    #[test]
    fn a_failure_is_found_by_version_and_by_digest() {
        let mut state = State::default();
        state.remember(Failure {
            version: "3.0".into(),
            digest: Some("ab".into()),
            attempts: 3,
            phase: Phase::Loader,
            reason: "it never came up".into(),
            checks: vec![],
            time: "2026-01-02T03:04:05Z".into(),
            times: 1,
            forgiven: false,
        });
        assert!(failure_of(&state, Some("3.0"), None).is_some());
        assert!(failure_of(&state, Some("3.1"), Some("AB")).is_some());
        assert!(failure_of(&state, Some("3.1"), Some("cd")).is_none());
    }
}

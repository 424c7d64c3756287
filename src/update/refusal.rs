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
    failure_of(state, version, digest).map_or(Ok(()), |failure| Err(refused(failure)))
}

/// As [`failure_of`], for an installed system: of one without a digest, its entry may be on record.
#[must_use]
pub fn failure_of_system<'s>(
    state: &'s State,
    version: Option<&str>,
    digest: Option<&str>,
    entry: &str,
) -> Option<&'s Failure> {
    let is_it = |failure: &&Failure| !failure.forgiven && failure.entry.as_deref() == Some(entry);
    let of_entry = || state.failures.iter().rev().find(is_it).filter(|_| digest.is_none());
    failure_of(state, version, digest).or_else(of_entry)
}

/// As [`refuse_failed`], for an installed system.
///
/// # Errors
/// As [`refuse_failed`].
pub fn refuse_failed_system(
    state: &State,
    version: Option<&str>,
    digest: Option<&str>,
    entry: &str,
) -> Result<()> {
    failure_of_system(state, version, digest, entry).map_or(Ok(()), |failure| Err(refused(failure)))
}

/// What `abide forget` takes for this record: of builds of one version, only the digest tells them apart.
#[must_use]
pub fn name_of(failure: &Failure) -> &str {
    failure.digest.as_deref().filter(|_| failure.unversioned).unwrap_or(&failure.version)
}

fn refused(failure: &Failure) -> Error {
    Error::Refused(format!(
        "{} failed before (phase {}: {}); `abide forget {}` allows another attempt",
        failure.version,
        phase::word(failure.phase),
        failure.reason,
        name_of(failure)
    ))
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
            unversioned: false,
            entry: None,
        });
        assert!(failure_of(&state, Some("3.0"), None).is_some());
        assert!(failure_of(&state, Some("3.1"), Some("AB")).is_some());
        assert!(failure_of(&state, Some("3.1"), Some("cd")).is_none());
        state.failures.iter_mut().for_each(|failure| failure.unversioned = true);
        assert!(failure_of(&state, Some("3.0"), None).is_none());
        assert!(failure_of(&state, Some("3.0"), Some("cd")).is_none());
        let refused = refuse_failed(&state, Some("3.0"), Some("ab"));
        assert!(refused.is_err_and(|e| e.to_string().contains("`abide forget ab`")));
    }
}

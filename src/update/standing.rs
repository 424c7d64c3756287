//! Whether a slot holds a good system.

use abide_core::boot::Entry;
use abide_core::disk::SlotName;
use abide_core::state::State;
use abide_core::update::kept::is_kept;

use crate::update::refusal::failure_of_system;

/// What is known of the system that an entry boots.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It was kept, and nothing has been held against it since.
    Good,
    /// It was kept, and was not healthy when it was booted last.
    Unhealthy,
    /// Its image is on record as failed.
    Failed,
    /// It has a counter, and the state does not remember it as good.
    NeverKept,
}

/// What is known of the system in `slot` that `entry` boots.
#[must_use]
pub fn standing(state: &State, entry: &Entry, slot: SlotName) -> Standing {
    let id = entry.id();
    if entry.name.counter().is_some() && !is_kept(state, entry) {
        return Standing::NeverKept;
    }
    let installed = state.installed(slot).filter(|i| i.entry == id);
    let version = entry.version.as_deref().or(installed.map(|i| i.version.as_str()));
    let digest = installed.and_then(|i| i.digest.as_deref());
    if failure_of_system(state, version, digest, &id).is_some() {
        Standing::Failed
    } else if state.unhealthy.iter().any(|u| u.entry == id) {
        Standing::Unhealthy
    } else {
        Standing::Good
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use abide_core::state::{Failure, Installed, Phase, Remedy, Unhealthy};
    use abide_testing::entry::uki;

    fn of(state: &State, file: &str) -> Standing {
        standing(state, &uki(file, "1.0"), SlotName::A)
    }

    #[test]
    fn a_plain_name_is_good_and_a_counted_one_only_where_it_is_remembered() {
        let mut state = State::default();
        assert_eq!(of(&state, "edge_1.0.efi"), Standing::Good);
        assert_eq!(of(&state, "edge_1.0+0-0.efi"), Standing::NeverKept);
        let installed = Installed {
            version: "1.0".into(),
            digest: None,
            entry: "edge_1.0.efi".into(),
            verified: None,
            unversioned: false,
        };
        state.set_installed(SlotName::A, Some(installed));
        assert_eq!(of(&state, "edge_1.0+0-0.efi"), Standing::Good);
    }

    #[test]
    fn what_failed_or_was_not_healthy_is_not_good() {
        let unhealthy = Unhealthy {
            entry: "edge_1.0.efi".into(),
            tried: Remedy::Reboot,
            reason: String::new(),
            time: String::new(),
            checks: vec![],
        };
        let mut state = State { unhealthy: vec![unhealthy], ..State::default() };
        assert_eq!(of(&state, "edge_1.0.efi"), Standing::Unhealthy);
        state.remember(Failure {
            version: "1.0".into(),
            digest: None,
            attempts: 1,
            phase: Phase::Checks,
            reason: String::new(),
            checks: vec![],
            time: String::new(),
            times: 1,
            forgiven: false,
            unversioned: false,
            entry: None,
        });
        assert_eq!(of(&state, "edge_1.0.efi"), Standing::Failed);
    }
}

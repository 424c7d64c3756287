//! The phases of a boot as words.

use abide_core::state::Phase;

/// The word in machine-readable output.
#[must_use]
pub fn word(phase: Phase) -> &'static str {
    match phase {
        Phase::Loader => "loader",
        Phase::Initramfs => "initramfs",
        Phase::SwitchRoot => "switch-root",
        Phase::Userspace => "userspace",
        Phase::Checks => "checks",
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_phase_has_the_same_word_in_messages_and_in_records() {
        for phase in [Phase::Loader, Phase::Initramfs, Phase::SwitchRoot, Phase::Userspace, Phase::Checks] {
            assert_eq!(serde_json::to_value(phase).unwrap(), word(phase));
        }
    }
}

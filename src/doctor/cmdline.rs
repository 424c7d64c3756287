//! Words on a kernel command line that prevent a machine from recovering by itself.

use crate::boot::kernel_args::waits_for_a_person;
use crate::doctor::finding::{Finding, Severity};
use abide_core::boot::Entry;
use abide_core::boot::model::entry::EntryState;

/// `running` is the command line of this boot, which may have been edited in the menu.
pub(super) fn look(entries: &[Entry], running: &str) -> Vec<Finding> {
    let bootable = entries.iter().filter(|e| e.profile == 0 && e.state() != EntryState::Bad);
    let mut found: Vec<Finding> = bootable
        .filter_map(|entry| {
            let severity =
                if entry.state() == EntryState::Trial { Severity::Error } else { Severity::Warning };
            Some(Finding { severity, ..finding(&entry.path(), entry.options.as_deref()?)? })
        })
        .collect();
    if found.is_empty() {
        found.extend(finding("this boot", running));
    }
    found
}

fn finding(whose: &str, cmdline: &str) -> Option<Finding> {
    let words = waits_for_a_person(cmdline);
    if words.is_empty() {
        return None;
    }
    Some(
        Finding::warning("command-line", format!("{whose} has {} on its kernel command line", words.join(" ")))
            .because(
                "a failed boot then waits for a person, hangs or powers off; a trial must reboot instead, so that the boot \
                 loader can fall back",
            )
            .remedy(format!("build the UKI without {}", words.join(" "))),
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use abide_testing::entry::uki;

    #[test]
    fn a_trial_that_would_wait_for_a_person_is_an_error() {
        let entry = |file| Entry { options: Some("rd.break quiet".into()), ..uki(file, "1") };
        assert_eq!(look(&[entry("a+3-0.efi")], "").first().unwrap().severity, Severity::Error);
        assert_eq!(look(&[entry("a.efi")], "").first().unwrap().severity, Severity::Warning);
        assert!(look(&[entry("a+0-3.efi")], "quiet").is_empty());
    }

    #[test]
    fn what_was_typed_in_the_menu_is_found_too() {
        let found = look(&[uki("a.efi", "1")], "systemd.unit=rescue.target");
        assert!(found.first().unwrap().what.starts_with("this boot has systemd.unit=rescue.target"));
    }
}

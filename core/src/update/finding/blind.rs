//! What a boot is by the loader's volatile variables alone, where no ESP can be read.

use crate::boot::model::name::{EntryName, fold_id};
use crate::boot::{Counter, EfiVars, LoaderVars};
use crate::root::Root;
use crate::update::kernel;

/// A demoted committed entry (`+0-N`) is counted like a trial that has no tries left. Up to so many
/// boots it is taken for a trial, so that a machine without a readable ESP reboots a bounded number of times.
const MOST_TRIES: u32 = 10;

/// Whether this boot may be a trial: the loader counted the entry that it started, which is not true of a
/// committed system with a plain name. It must be able to end by itself.
///
/// After a kexec the variables are those of an older boot. `LoaderBootCountPath` may be left over from an
/// attempt before this boot (systemd-boot 252 to 262), so it must name the selected entry.
#[must_use]
pub fn may_be_trial(vars: &LoaderVars, kexec: Option<bool>) -> bool {
    kexec != Some(true) && counted(vars).is_some_and(|c| c.left > 0 || c.done <= MOST_TRIES)
}

/// Whether the loader counted this boot, as [`may_be_trial`]: a reboot then uses up a try.
#[must_use]
pub fn is_counted(root: &Root) -> bool {
    may_be_trial(&LoaderVars::read(&EfiVars::new(root)), kernel::started_by_kexec(root))
}

/// The counter of the selected entry, after the loader has counted this boot.
fn counted(vars: &LoaderVars) -> Option<Counter> {
    let path = vars.boot_count_path.as_deref()?;
    let file = path.rsplit_once('/').map_or(path, |(_, file)| file);
    let name = EntryName::parse(file)?;
    let is_selected = vars.selected.as_deref().is_none_or(|id| fold_id(id) == name.id());
    name.counter().filter(|_| is_selected)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vars(selected: &str, path: Option<&str>) -> LoaderVars {
        LoaderVars {
            selected: Some(selected.into()),
            boot_count_path: path.map(Into::into),
            ..LoaderVars::default()
        }
    }

    #[test]
    fn a_counted_entry_may_be_on_trial_until_its_tries_are_long_used_up() {
        for (name, may_be) in [("+2-1", true), ("+0-3", true), ("+0-10", true), ("+0-11", false), ("", false)]
        {
            let path = format!("EFI/Linux/edge_2.0{name}.efi");
            assert_eq!(may_be_trial(&vars("edge_2.0.efi", Some(&path)), None), may_be, "{path}");
        }
    }

    #[test]
    fn an_entry_that_was_not_counted_is_no_trial() {
        assert!(!may_be_trial(&vars("edge_1.0.efi", None), None));
        assert!(!may_be_trial(&LoaderVars::default(), None));
    }

    #[test]
    fn a_count_of_another_attempt_or_of_another_kernel_says_nothing() {
        let path = Some("EFI/Linux/edge_2.0+0-2.efi");
        assert!(!may_be_trial(&vars("edge_1.0.efi", path), None));
        assert!(!may_be_trial(&vars("edge_2.0.efi", path), Some(true)));
        // The id of 252 holds the counter as it was before.
        assert!(may_be_trial(&vars("edge_2.0+1-1.efi", path), Some(false)));
    }
}

//! A kernel that hangs after a panic.

use crate::boot::kernel_args::reboots_on_panic;
use crate::doctor::finding::{Finding, Severity};
use abide_core::boot::Entry;
use abide_core::boot::model::entry::EntryState;

pub(super) fn look(entries: &[Entry]) -> Vec<Finding> {
    entries.iter().filter(|e| e.profile == 0 && e.state() != EntryState::Bad).filter_map(entry).collect()
}

fn entry(entry: &Entry) -> Option<Finding> {
    let options = entry.options.as_deref()?;
    let what = match reboots_on_panic(options) {
        Some(true) => return None,
        Some(false) => format!("{} has panic=0 on its command line", entry.path()),
        None => format!("{} has no panic= on its command line", entry.path()),
    };
    // On trial, such a try never ends; a good system has already shown that it boots.
    let severity = if entry.state() == EntryState::Trial { Severity::Error } else { Severity::Warning };
    Some(
        Finding { severity, ..Finding::warning("panic", what) }
            .because(
                "if the kernel panics before the initramfs starts, the machine hangs instead of rebooting, so the \
                 boot loader cannot fall back",
            )
            .remedy("build the image's UKI with panic=10 on its command line"),
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use abide_testing::entry::uki;

    fn found(file: &str, options: &str) -> Option<Severity> {
        let entry = Entry { options: Some(options.into()), ..uki(file, "1") };
        look(&[entry]).first().map(|f| f.severity)
    }

    #[test]
    fn a_kernel_that_would_not_reboot_is_an_error_on_trial_else_a_warning() {
        assert_eq!(found("a.efi", "quiet panic=10"), None);
        assert_eq!(found("a.efi", "quiet"), Some(Severity::Warning));
        assert_eq!(found("a+3-0.efi", "quiet panic=0"), Some(Severity::Error));
        assert_eq!(found("a+0-3.efi", "quiet"), None);
    }
}

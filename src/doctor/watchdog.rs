//! A hardware watchdog, which ends what nothing else can.

use crate::doctor::finding::Finding;

/// What the kernel calls the watchdog that is only a timer of its own (`softdog.c`).
const SOFTWARE: &str = "Software Watchdog";

/// `identities` are what the watchdogs call themselves.
pub(super) fn look(identities: &[String]) -> Vec<Finding> {
    if identities.iter().any(|name| name != SOFTWARE) {
        return vec![];
    }
    let what = match identities.first() {
        None => "there is no watchdog",
        Some(_) => "the only watchdog is the kernel's own, in software",
    };
    vec![
        Finding::warning("no-watchdog", what)
            .because(
                "a trial whose kernel hangs before the initramfs, or hard later on, stands still until somebody cuts the \
                 power",
            )
            .remedy(
                "enable the board's watchdog in the firmware setup, and have its driver in the image and its initramfs; one \
                 that the firmware starts covers the kernel's start, too",
            ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_watchdog_in_software_is_none() {
        assert!(look(&["i6300ESB timer".into()]).is_empty());
        assert!(look(&[SOFTWARE.into(), "iTCO_wdt".into()]).is_empty());
        assert_eq!(look(&[SOFTWARE.into()]).len(), 1);
        assert_eq!(look(&[]).len(), 1);
    }
}

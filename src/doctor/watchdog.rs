//! A hardware watchdog, which ends hangs that nothing else can end.

use std::fs;

use crate::doctor::finding::Finding;
use abide_core::root::Root;

/// The kernel's name for its software watchdog (`softdog.c`).
const SOFTWARE: &str = "Software Watchdog";

/// `identities` are the names of the watchdogs.
pub(super) fn look(identities: &[String]) -> Vec<Finding> {
    if identities.iter().any(|name| name != SOFTWARE) {
        return vec![];
    }
    let what = match identities.first() {
        None => "there is no hardware watchdog",
        Some(_) => "the only watchdog is the kernel's software watchdog",
    };
    vec![
        Finding::warning("no-watchdog", what)
            .because(
                "if the kernel of a trial hangs, the machine hangs until it is switched off",
            )
            .remedy(
                "enable the board's watchdog in the firmware setup, and include its driver in the image and its initramfs; \
                 if the firmware starts it, it also covers the start of the kernel",
            ),
    ]
}

/// What the watchdogs of the machine call themselves.
pub(super) fn read(root: &Root) -> Vec<String> {
    let class = "/sys/class/watchdog";
    let files = fs::read_dir(root.path(class)).into_iter().flatten().flatten();
    let mut devices: Vec<String> = files.filter_map(|file| file.file_name().into_string().ok()).collect();
    devices.sort_unstable();
    let identity = |device: &String| fs::read_to_string(root.path(format!("{class}/{device}/identity")));
    devices
        .iter()
        .map(|device| identity(device).map_or_else(|_| device.clone(), |name| name.trim().to_owned()))
        .collect()
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

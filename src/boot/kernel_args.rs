//! The words on a kernel command line that decide what happens after a failure.

/// The values of `key=` on a command line, in order.
fn values<'a>(cmdline: &'a str, key: &'a str) -> impl Iterator<Item = &'a str> {
    cmdline.split_whitespace().filter_map(move |word| word.strip_prefix(key)?.strip_prefix('='))
}

/// The last value of `key=`, which is the one that counts.
#[must_use]
pub fn last<'a>(cmdline: &'a str, key: &'a str) -> Option<&'a str> {
    values(cmdline, key).last()
}

/// Whether a kernel with this command line reboots when it panics: `panic=` in seconds, negative for at
/// once, 0 for never (Linux, `kernel-parameters.txt`). `None` without that word; most kernels then hang.
#[must_use]
pub fn reboots_on_panic(cmdline: &str) -> Option<bool> {
    let seconds: i64 = last(cmdline, "panic")?.parse().ok()?;
    Some(seconds != 0)
}

/// The words that make a failed boot wait for a person, power off or halt. An unattended machine must
/// reboot instead.
///
/// `dracut.cmdline(7)`, `systemd(1)`, `kernel-command-line(7)`.
#[must_use]
pub fn waits_for_a_person(cmdline: &str) -> Vec<&str> {
    cmdline.split_whitespace().filter(|word| is_trap(word)).collect()
}

fn is_trap(word: &str) -> bool {
    let (key, value) = word.split_once('=').map_or((word, None), |(key, value)| (key, Some(value)));
    let on = value.is_none_or(|v| matches!(v, "1" | "yes" | "true" | "on"));
    let is_rescue = |unit: &str| {
        let name = unit.trim_end_matches(".target").trim_end_matches(".service");
        matches!(name, "emergency" | "rescue" | "halt" | "poweroff")
    };
    let is_own = |unit: &str| unit.starts_with("abide-");
    match (key, value) {
        ("rd.break", _) => true,
        ("emergency" | "rescue" | "single" | "s" | "S" | "1", None) => true,
        ("rd.emergency", Some(what)) => what != "reboot",
        ("systemd.crash_action", Some(what)) => what != "reboot",
        ("systemd.crash_shell" | "systemd.confirm_spawn" | "rd.systemd.confirm_spawn", _) => on,
        ("systemd.unit" | "rd.systemd.unit", Some(unit)) => is_rescue(unit),
        ("systemd.mask" | "rd.systemd.mask", Some(unit)) => is_own(unit) || unit == "boot-complete.target",
        ("init" | "rdinit", Some(program)) => program.ends_with("sh"),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_panic_counts_and_zero_means_never() {
        assert_eq!(reboots_on_panic("quiet"), None);
        assert_eq!(reboots_on_panic("panic=10 quiet"), Some(true));
        assert_eq!(reboots_on_panic("panic=-1"), Some(true));
        assert_eq!(reboots_on_panic("panic=10 panic=0"), Some(false));
        assert_eq!(reboots_on_panic("oops=panic xpanic=1 panic=soon"), None);
    }

    #[test]
    fn words_that_wait_for_a_person_are_told_from_those_that_do_not() {
        let good = "root=/dev/sda2 rd.shell=0 rd.emergency=reboot systemd.crash_action=reboot \
                    systemd.unit=multi-user.target init=/sbin/init systemd.crash_shell=no panic=10";
        assert!(waits_for_a_person(good).is_empty());
        let bad = [
            "rd.break",
            "rd.break=pre-mount",
            "rd.emergency=halt",
            "systemd.crash_action=freeze",
            "systemd.crash_shell",
            "systemd.unit=rescue.target",
            "emergency",
            "single",
            "init=/bin/sh",
            "rd.systemd.mask=abide-initrd.service",
            "systemd.mask=boot-complete.target",
        ];
        for word in bad {
            assert_eq!(waits_for_a_person(&format!("quiet {word} ro")), [word]);
        }
    }
}

//! A boot loader that lacks something that Abide needs.

use crate::doctor::finding::Finding;
use abide_core::boot::LoaderVars;
use abide_core::boot::model::quirks::release;

/// The oldest systemd-boot that the model knows.
const OLDEST: u32 = 252;

pub(super) fn look(vars: &LoaderVars) -> Vec<Finding> {
    let Some(info) = &vars.info else {
        let found = if vars.unreadable {
            Finding::warning("loader-unknown", "the boot loader's EFI variables cannot be read")
                .because("the version of systemd-boot and its settings are unknown; Abide assumes the newest version")
                .remedy("mount efivarfs at /sys/firmware/efi/efivars, and look for its errors in `journalctl -k`")
        } else {
            Finding::error("loader-unknown", "the boot loader is unknown (no EFI variable LoaderInfo)")
                .because("only systemd-boot counts tries and falls back; it sets that variable")
                .remedy("install systemd-boot (`bootctl install`) and boot through it, with efivarfs mounted")
        };
        return vec![found];
    };
    if !info.starts_with("systemd-boot ") {
        return vec![
            Finding::error("loader-foreign", format!("the boot loader is {info}"))
                .because("only systemd-boot counts tries and falls back")
                .remedy("install systemd-boot (`bootctl install`) and let the firmware start it"),
        ];
    }
    if let Some((major, _)) = release(info).filter(|(major, _)| *major < OLDEST) {
        return vec![
            Finding::error("loader-too-old", format!("the boot loader is systemd-boot {major}"))
                .because(format!("Abide supports systemd-boot {OLDEST} and later"))
                .remedy("update it with `bootctl update`"),
        ];
    }
    if vars.boot_counting() == Some(false) {
        return vec![
            Finding::error("loader-without-counting", format!("{info} reports that it does not count boots"))
                .because("it would boot a failed update forever")
                .remedy("install an unmodified systemd-boot (`bootctl install`)"),
        ];
    }
    vec![]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(info: Option<&str>, features: Option<u64>) -> Vec<&'static str> {
        let vars = LoaderVars { info: info.map(Into::into), features, ..LoaderVars::default() };
        look(&vars).iter().map(|f| f.id).collect()
    }

    #[test]
    fn a_loader_is_judged_by_what_it_says_of_itself() {
        assert!(ids(Some("systemd-boot 257.13-1~deb13u1"), Some(0x10)).is_empty());
        assert!(ids(Some("systemd-boot 262"), None).is_empty());
        assert_eq!(ids(Some("systemd-boot 257"), Some(0x0f)), ["loader-without-counting"]);
        assert_eq!(ids(Some("systemd-boot 250"), Some(0x10)), ["loader-too-old"]);
        assert_eq!(ids(Some("GRUB 2.12"), None), ["loader-foreign"]);
        assert_eq!(ids(None, None), ["loader-unknown"]);
    }
}

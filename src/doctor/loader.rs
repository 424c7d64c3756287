//! A boot loader that does not do its part.

use crate::doctor::finding::Finding;
use abide_core::boot::LoaderVars;
use abide_core::boot::model::quirks::release;

/// The oldest systemd-boot that the model knows.
const OLDEST: u32 = 252;

pub(super) fn look(vars: &LoaderVars) -> Vec<Finding> {
    let Some(info) = &vars.info else {
        let found = if vars.unreadable {
            Finding::warning("loader-unknown", "the boot loader's EFI variables cannot be read")
                .because("which systemd-boot it is, and what it is told, is not known; the newest is assumed")
                .remedy("mount efivarfs at /sys/firmware/efi/efivars, and look for its errors in the kernel's log")
        } else {
            Finding::error("loader-unknown", "no boot loader has said that it booted this machine")
                .because("only systemd-boot counts tries and falls back by itself; it sets the EFI variable LoaderInfo")
                .remedy("install systemd-boot (`bootctl install`) and boot through it, with efivarfs mounted")
        };
        return vec![found];
    };
    if !info.starts_with("systemd-boot ") {
        return vec![
            Finding::error("loader-foreign", format!("the boot loader is {info}"))
                .because("only systemd-boot counts tries and falls back by itself")
                .remedy("install systemd-boot (`bootctl install`) and let the firmware start it"),
        ];
    }
    if let Some((major, _)) = release(info).filter(|(major, _)| *major < OLDEST) {
        return vec![
            Finding::error("loader-too-old", format!("the boot loader is systemd-boot {major}"))
                .because(format!("what versions before {OLDEST} choose was not looked into"))
                .remedy("update it with `bootctl update`"),
        ];
    }
    if vars.boot_counting() == Some(false) {
        return vec![
            Finding::error("loader-without-counting", format!("{info} says that it does not count boots"))
                .because("an update that does not come up would be booted for ever")
                .remedy("install systemd-boot as systemd releases it (`bootctl install`)"),
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

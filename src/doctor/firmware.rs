//! Firmware boot options that lead back to the loader.

use crate::doctor::finding::Finding;
use crate::update::boot_options::Count;
use abide_core::error::Result;

/// `count` is `None` with a loader that needs only one option. `loader` is the loader's name.
pub(super) fn look(count: &Result<Option<Count>>, loader: &str) -> Vec<Finding> {
    let why = format!(
        "if {loader} cannot start a UKI, the firmware starts its next boot option; unless that starts the loader again, \
         there is no next try and no fallback to the good system"
    );
    match count {
        Ok(None) => vec![],
        Ok(Some(count)) if count.is_enough() => vec![],
        Ok(Some(Count { have, needed })) => vec![
            Finding::error("firmware-options", format!("{have} of {needed} firmware boot options lead to the boot loader"))
                .because(why)
                .remedy("run `abide doctor --fix`, which adds the missing ones, or install systemd-boot 258 or later")
                .fixable(),
        ],
        Err(e) => vec![
            Finding::warning("firmware-options-unknown", e.to_string())
                .because(format!("the number of firmware boot options that lead to the loader is unknown; {why}"))
                .remedy("mount efivarfs at /sys/firmware/efi/efivars, or install systemd-boot 258 or later, which needs no additional boot options"),
        ],
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use abide_core::error::Error;

    #[test]
    fn too_few_options_are_an_error_and_what_cannot_be_counted_is_a_warning() {
        let ids = |count| look(&count, "systemd-boot 257").first().map(|f| (f.id, f.fixable));
        assert_eq!(ids(Ok(None)), None);
        assert_eq!(ids(Ok(Some(Count { have: 4, needed: 4 }))), None);
        assert_eq!(ids(Ok(Some(Count { have: 1, needed: 4 }))), Some(("firmware-options", true)));
        assert_eq!(ids(Err(Error::Boot("x".into()))), Some(("firmware-options-unknown", false)));
    }
}

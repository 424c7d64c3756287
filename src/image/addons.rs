//! Addons that an image brings beside its UKI.

use crate::image::names::base_name;
use abide_core::error::Error;

/// The end of the name of an addon (systemd-stub(7)).
const SUFFIX: &str = ".addon.efi";

/// Whether a published file of this name is an addon for the UKI that is published as `uki`.
#[must_use]
pub fn is_beside(uki: &str, name: &str) -> bool {
    let is_of = |uki: &str, name: &str| uki.strip_suffix(".efi").is_some_and(|stem| name.starts_with(stem));
    name.ends_with(SUFFIX) && (is_of(uki, name) || is_of(base_name(uki), base_name(name)))
}

/// The refusal of an image with such a file: without it, another system would be installed than was published.
#[must_use]
pub fn refusal(image: &str, addon: &str) -> Error {
    Error::Refused(format!(
        "{image}: brings {addon} beside its UKI, which Abide does not install; build what it contains into the UKI, or put it \
         into loader/addons on the ESP of the machines"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_addon_is_told_by_the_name_of_its_uki() {
        assert!(is_beside("edge_2.0.efi", "edge_2.0.addon.efi"));
        assert!(is_beside("v2/edge_2.0.efi", "edge_2.0.addon.efi"));
        assert!(is_beside("edge_2.0.efi", "edge_2.0.efi.extra.d/debug.addon.efi"));
        assert!(is_beside("edge_2.0.efi", "edge_2.0.efi.debug.addon.efi"));
        assert!(!is_beside("edge_2.0.efi", "edge_1.0.addon.efi"));
        assert!(!is_beside("edge_2.0.efi", "edge_2.0.root.raw"));
    }
}

//! The features that the boot loader reports.

use abide_core::boot::LoaderVars;

/// Bit of `LoaderFeatures`: the loader counts boots.
const BOOT_COUNTING: u64 = 1 << 4;

/// Whether the loader counts boots; `None` if it does not report that.
#[must_use]
pub fn boot_counting(vars: &LoaderVars) -> Option<bool> {
    vars.features.map(|features| features & BOOT_COUNTING != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loader_that_says_nothing_is_told_from_one_that_does_not_count() {
        let counts = |features| boot_counting(&LoaderVars { features, ..LoaderVars::default() });
        assert_eq!([counts(Some(0x10)), counts(Some(0xef)), counts(None)], [Some(true), Some(false), None]);
    }
}

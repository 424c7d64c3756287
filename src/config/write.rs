//! `[write]`: which images are written.

use abide_core::config::form::{Word, Words};

use crate::config::table::settings;

/// What happens to an image that lacks a safeguard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnMissing {
    /// It is written, with a warning.
    Warn,
    /// It is refused.
    Refuse,
}

impl Words for OnMissing {
    type Value = Self;
    const WORDS: &'static [(&'static str, Self)] = &[("warn", Self::Warn), ("require", Self::Refuse)];
}

settings! {
    /// Rules for images, in addition to those that always hold.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct WriteRules {
        /// What happens to an image whose UKI has no `panic=` on its command line. Without it, the machine hangs if
        /// the kernel panics before the initramfs starts. `"warn"`: the image is written, with a warning.
        /// `"require"`: it is refused.
        pub no_panic as "panic": Word<OnMissing> = OnMissing::Warn;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::config::Config;

    #[test]
    fn an_image_without_panic_is_refused_only_if_configured() {
        assert_eq!(Config::parse("f", "").unwrap().write.no_panic, OnMissing::Warn);
        assert_eq!(
            Config::parse("f", "[write]\npanic = 'require'\n").unwrap().write.no_panic,
            OnMissing::Refuse
        );
        assert!(Config::parse("f", "[write]\npanic = 'no'\n").is_err());
    }
}

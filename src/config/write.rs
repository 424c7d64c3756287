//! `[write]`: which images are written.

use abide_core::config::form::{Word, Words};
use abide_core::config::table::settings;

/// What becomes of an image that lacks something without which it may not come back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lacking {
    /// It is written, with a warning.
    Warn,
    /// It is refused.
    Refuse,
}

impl Words for Lacking {
    type Value = Self;
    const WORDS: &'static [(&'static str, Self)] = &[("warn", Self::Warn), ("require", Self::Refuse)];
}

settings! {
    /// The rules for images beside those that always hold.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct WriteRules {
        /// What happens to an image whose UKI has no `panic=` on its command line, so that a kernel that panics
        /// before the initramfs hangs. `"warn"`: it is written, with a warning. `"require"`: it is refused.
        pub no_panic as "panic": Word<Lacking> = Lacking::Warn;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::config::Config;

    #[test]
    fn an_image_without_panic_is_refused_only_where_that_is_said() {
        assert_eq!(Config::parse("f", "").unwrap().write.no_panic, Lacking::Warn);
        assert_eq!(
            Config::parse("f", "[write]\npanic = 'require'\n").unwrap().write.no_panic,
            Lacking::Refuse
        );
        assert!(Config::parse("f", "[write]\npanic = 'no'\n").is_err());
    }
}

//! `[write]`: which images are written.

use abide_core::config::section::Section;
use abide_core::error::Result;

/// What becomes of an image that lacks something without which it may not come back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Lacking {
    /// It is written, with a warning.
    #[default]
    Warn,
    /// It is refused.
    Refuse,
}

/// The rules for images beside those that always hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct WriteRules {
    /// `panic`: a kernel that would stand still when it panics, since its UKI has no `panic=`.
    pub no_panic: Lacking,
}

impl WriteRules {
    pub(super) fn read(section: &mut Section<'_>) -> Result<Self> {
        let words = [("warn", Lacking::Warn), ("require", Lacking::Refuse)];
        Ok(Self { no_panic: section.word("panic", &words)?.unwrap_or_default() })
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

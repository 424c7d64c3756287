//! `[trust]`: what an image must be vouched for by.

use abide_core::config::section::Section;
use abide_core::error::Result;

/// What is asked of an image before it may become an update.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    /// A signature of one of the installed keys.
    Signature,
    /// A digest that was given with it or published beside it.
    Digest,
    /// Nothing.
    None,
}

/// Whom to trust.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Trust {
    /// None where nothing is configured: [`Policy::Signature`] once a key is installed.
    pub policy: Option<Policy>,
    /// The `IMAGE_ID` (else `ID`) that images must have; none: that of the running system.
    pub image_id: Option<String>,
}

impl Trust {
    pub(super) fn read(section: &mut Section<'_>) -> Result<Self> {
        let words = [("signature", Policy::Signature), ("digest", Policy::Digest), ("none", Policy::None)];
        Ok(Self { policy: section.word("policy", &words)?, image_id: section.text("image_id")? })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::config::Config;

    #[test]
    fn every_key_is_read() {
        let config = Config::parse("f", "[trust]\npolicy = 'none'\nimage_id = 'edge'\n").unwrap();
        assert_eq!(config.trust, Trust { policy: Some(Policy::None), image_id: Some("edge".into()) });
    }

    #[test]
    fn a_policy_that_is_misspelt_is_an_error_and_not_none() {
        assert!(Config::parse("f", "[trust]\npolicy = 'signatures'\n").is_err());
        assert!(Config::parse("f", "[trust]\npolicy = ''\n").is_err());
    }
}

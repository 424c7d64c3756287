//! `[trust]`: how an image must be verified.

use abide_core::config::form::{Count, Optional, Text, Word, Words};

use crate::config::table::settings;

/// How an image must be verified before it may become an update.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TrustPolicy {
    /// A signature of one of the installed keys.
    Signature,
    /// A digest that was given with it or published beside it.
    Digest,
    /// Nothing.
    None,
}

impl Words for TrustPolicy {
    type Value = Self;
    const WORDS: &'static [(&'static str, Self)] =
        &[("signature", Self::Signature), ("digest", Self::Digest), ("none", Self::None)];
}

settings! {
    /// How images are verified.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct Trust {
        /// What an image needs. `"signature"`: a signature by an installed key. `"digest"`: a
        /// digest that is given, or published beside the image. `"none"`: nothing.
        pub policy: Optional<Word<TrustPolicy>> = None,
            otherwise "`\"signature\"`; a local file that is named on the command line needs one only if a key is installed",
            example "signature";
        /// How many installed keys must have signed. With more than one, they sign `SHA256SUMS`.
        pub required: Count<1, 8> = 1;
        /// The `IMAGE_ID` (else `ID`) that an image must have. Images with another one are refused.
        pub image_id: Optional<Text> = None, otherwise "the running system's", example "edge";
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::config::Config;

    #[test]
    fn every_key_is_read() {
        let config =
            Config::parse("f", "[trust]\npolicy = 'none'\nrequired = 2\nimage_id = 'edge'\n").unwrap();
        let trust = Trust { policy: Some(TrustPolicy::None), required: 2, image_id: Some("edge".into()) };
        assert_eq!(config.trust, trust);
    }

    #[test]
    fn a_policy_that_is_misspelt_is_an_error_and_not_none() {
        assert!(Config::parse("f", "[trust]\npolicy = 'signatures'\n").is_err());
        assert!(Config::parse("f", "[trust]\npolicy = ''\n").is_err());
    }
}

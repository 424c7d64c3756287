//! What an image was verified by.

use std::fmt;

/// What vouches for an image, as it is shown and remembered.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Proof {
    /// Signatures, by the names of the keys' files.
    Signed(Vec<String>),
    /// A digest that the user gave.
    GivenDigest,
    /// A digest that is published beside it.
    ListedDigest,
    /// Nothing.
    #[default]
    Nothing,
}

impl fmt::Display for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Signed(by) => write!(f, "signed by {}", by.join(" and ")),
            Self::GivenDigest => f.write_str("digest given by hand"),
            Self::ListedDigest => f.write_str("digest published beside it, not signed"),
            Self::Nothing => f.write_str("not verified"),
        }
    }
}

//! Whether an image may be trusted: digests, lists of digests, and signatures.
//!
//! Before an image is opened it is decided what its published bytes must be. They are hashed once, while
//! they are written, and the slot is not bootable before the hash matches.

pub mod keys;
pub mod minisign;
pub mod openpgp;
pub mod sums;
mod verifier;

pub use keys::Keys;
pub use minisign::Claim;
pub use sums::Sums;
pub use verifier::{Expected, VerifiedSums, Verifier, read_sums};

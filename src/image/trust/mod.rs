//! Whether an image may be trusted: digests, lists of digests, and signatures.
//!
//! Before an image is opened it is decided what its published bytes must be. They are hashed once, while
//! they are written, and the slot is not bootable before the hash matches.

pub mod carried;
pub mod key_list;
pub mod keys;
pub mod minisign;
pub mod openpgp;
mod proof;
pub mod signer;
pub mod sums;
mod verifier;

pub use carried::Carried;
pub use key_list::{KEY_LIST, KeyList, LEARNED, MOST_KEY_LIST};
pub use keys::Keys;
pub use minisign::Claim;
pub use proof::Proof;
pub use signer::Signer;
pub use sums::Sums;
pub use verifier::{Expected, Installer, SIGNATURES, VerifiedSums, Verifier, read_sums};

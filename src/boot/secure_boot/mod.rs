//! Whether the firmware starts an executable, where Secure Boot is on: its lists of keys, the signatures of the
//! executable, and the rule that EDK2 and shim follow.

mod certificate;
mod der;
mod firmware;
mod hash;
mod lists;
mod pe;
mod rule;
mod signature;

pub use firmware::{Enforcing, SecureBoot};
pub use lists::KeyList;
pub use rule::{Verdict, judge};

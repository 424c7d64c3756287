//! What this boot is, from all witnesses at once.
//!
//! [`Witnesses`] go in; [`Identity`] says which system runs, [`Finding`] what its boot is in the life
//! of an update. Where two witnesses contradict each other, the answer is [`Boot::Unknown`] with the
//! [`Contradiction`] named; how each kind is decided is the table in [`contradiction`].
//!
//! Pure: nothing is read or changed here.

pub mod blind;
pub mod case;
pub mod contradiction;
pub mod identity;
pub mod witnesses;

pub use case::{Boot, Finding};
pub use contradiction::{Contradiction, Kind};
pub use identity::Identity;
pub use witnesses::Witnesses;

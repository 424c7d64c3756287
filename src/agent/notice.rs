//! What a run shows while it works.

use crate::feed::download::Fetched;
use crate::update::write::{Progress, Written};

/// Something to show.
#[derive(Debug)]
pub enum Notice<'a> {
    /// So much of this file is fetched.
    Fetching(&'a str, Fetched),
    /// So much of the slot is written.
    Writing(Progress),
    /// The update is in the slot.
    Staged(&'a Written),
    /// This version boots next.
    Applied(&'a str),
}

//! `forget`: allows another attempt of a failed image.

use abide_core::error::{Error, Result};
use abide_core::state::{Failure, State};

use abide_core::update::machine::Machine;
use abide_core::update::step::{Effects, Step};

/// Which records to delete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Which {
    /// All of them.
    All,
    /// Those of this version, or whose digest starts with this.
    Image(String),
}

/// The fewest digits of a digest that are accepted.
const MIN_DIGEST: usize = 6;

/// Deletes failure records and returns how many. With [`Which::All`], having none is not an error.
///
/// # Errors
/// [`Error::Nothing`] if no record matches.
pub fn forget(machine: &mut Machine, which: &Which) -> Result<usize> {
    let state = machine.state();
    let next = without(&state, which);
    let deleted = state.failures.len() - next.failures.len();
    if deleted == 0 {
        return match which {
            Which::All => Ok(0),
            Which::Image(name) => Err(Error::Nothing(format!("there is no failure record of {name}"))),
        };
    }
    machine.perform(&Step::Save(Box::new(next)))?;
    Ok(deleted)
}

/// Forgets the lists of images that were seen, and returns how many.
///
/// # Errors
/// [`Error::Boot`] if the state cannot be saved.
pub fn forget_lists(machine: &mut Machine) -> Result<usize> {
    let state = machine.state();
    let dropped = state.lists.len();
    if dropped > 0 {
        machine.perform(&Step::Save(Box::new(State { lists: vec![], ..state })))?;
    }
    Ok(dropped)
}

fn without(state: &State, which: &Which) -> State {
    let fits = |f: &Failure| match which {
        Which::All => true,
        Which::Image(name) => {
            let by_digest = |d: &String| {
                name.len() >= MIN_DIGEST && d.to_ascii_lowercase().starts_with(&name.to_ascii_lowercase())
            };
            f.version == *name || f.digest.as_ref().is_some_and(by_digest)
        }
    };
    let mut next = state.clone();
    next.failures.retain(|f| !fits(f));
    next
}

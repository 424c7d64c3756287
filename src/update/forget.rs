//! `forget`: a failed image may be tried again.

use abide_core::error::{Error, Result};
use abide_core::state::{Failure, State};

use abide_core::update::machine::Machine;
use abide_core::update::step::{Effects, Step};

/// Which records to drop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Which {
    /// Every one.
    All,
    /// Those of this version, or whose digest begins with this.
    Image(String),
}

/// The shortest beginning of a digest that is taken for one.
const MIN_DIGEST: usize = 6;

/// Drops failure records and returns how many. With [`Which::All`], none is not an error.
///
/// # Errors
/// [`Error::Nothing`] if no record fits.
pub fn forget(machine: &mut Machine, which: &Which) -> Result<usize> {
    let state = machine.state();
    let next = without(&state, which);
    let dropped = state.failures.len() - next.failures.len();
    if dropped == 0 {
        return match which {
            Which::All => Ok(0),
            Which::Image(name) => Err(Error::Nothing(format!("no failure of {name} is on record"))),
        };
    }
    machine.perform(&Step::Save(Box::new(next)))?;
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

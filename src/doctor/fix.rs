//! What can be put right from here.

use crate::error::Result;
use crate::state::Lock;
use crate::update::Machine;
use crate::update::apply::pins_to_clear;
use crate::update::step::{Effects, Step};

/// Does what can be done and says what was done. The caller surveyed `machine` to change it.
///
/// # Errors
/// What could not be done; what was done before it stays.
pub fn fix(machine: &mut Machine, _lock: &Lock) -> Result<Vec<String>> {
    let mut done = vec![];
    for step in pins_to_clear(machine) {
        machine.perform(&step)?;
        if let Step::ClearVariable { name } = step {
            done.push(format!("the EFI variable {name} is cleared"));
        }
    }
    Ok(done)
}

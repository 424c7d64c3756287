//! The repairs of `abide doctor --fix`.

use crate::update::{applied_by_other, boot_options};
use abide_core::error::{Error, Result};
use abide_core::state::Lock;
use abide_core::update::Machine;
use abide_core::update::overrides::Override;
use abide_core::update::step::{Effects, Step};

/// Repairs what it can, and returns what it has repaired. The caller opened `machine` to change it.
/// `tries` is how often an update is tried.
///
/// # Errors
/// The repair that failed; the ones before it stay.
pub fn fix(machine: &mut Machine, tries: u32, _lock: &Lock) -> Result<Vec<String>> {
    if let Some(found) = applied_by_other::uncommitted(machine) {
        return Err(Error::Refused(found.to_string()));
    }
    let mut done = vec![];
    for variable in Override::pins_in(&machine.settings) {
        machine.perform(&Step::ClearOverride(variable))?;
        done.push(format!("the EFI variable {variable} is cleared"));
    }
    // If they cannot be read, there is nothing to repair; a finding reports it.
    if boot_options::count(machine, tries).is_ok()
        && let Some(count) = boot_options::add(machine, tries)?
    {
        done.push(format!("{} firmware boot options now lead to the boot loader", count.have));
    }
    Ok(done)
}

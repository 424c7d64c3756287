//! Taking over the trial that another tool began, where the configuration says so.

use log::info;

use abide_core::boot::Access;
use abide_core::config::BootConfig;
use abide_core::disk::Slots;
use abide_core::error::Result;
use abide_core::root::Root;
use abide_core::state::lock::BRIEFLY;
use abide_core::state::{BootKind, BootNote, Lock, State};
use abide_core::update::step::{Effects, Step};
use abide_core::update::{Machine, kernel, other_trial};

use crate::early::early;

/// Takes over the trial that runs if it was found to be that of another tool and the configuration says so: from then
/// on this boot is a trial of Abide's. Does nothing otherwise; `config` reads the configuration where it is needed.
///
/// # Errors
/// [`abide_core::error::Error::Boot`] if the ESP cannot be read or written.
pub fn take_over(root: &Root, config: impl FnOnce(&Root) -> BootConfig) -> Result<()> {
    let is_unknown = BootNote::read(root).is_some_and(|note| note.kind == BootKind::Unknown);
    if !is_unknown {
        return Ok(());
    }
    let config = config(root);
    if !config.assess.other_trials {
        return Ok(());
    }
    {
        let _lock = Lock::wait(root, BRIEFLY)?;
        let mut machine = Machine::read_boot(root, Access::Write)?;
        let labels = config.slots.as_ref().map(|labels| (labels.a.as_str(), labels.b.as_str()));
        let slots = Slots::find(root, labels)?;
        machine.mounted = slots.mounted_at(root, kernel::system_mount(root))?;
        machine.slots = Some(slots);
        let Some(update) = other_trial::take_over(&machine) else { return Ok(()) };
        info!("{} was put on trial by another tool; Abide assesses it", update.entry);
        machine.perform(&Step::Save(Box::new(State { update: Some(update), ..machine.state() })))?;
    }
    BootNote::withdraw(root)?;
    early(root)
}

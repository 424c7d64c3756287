//! Whether another tool may mark the running entry as good; for `ExecCondition=` of systemd-bless-boot.service.

use log::info;

use crate::config::Config;
use crate::update::WholeMachine;
use abide_core::boot::Access;
use abide_core::error::{Error, Result};
use abide_core::root::Root;
use abide_core::update::Machine;
use abide_core::update::finding::{Boot, Finding, Kind};

/// Succeeds if the running entry has a counter that another tool has set, and nothing contradicts that. Abide
/// commits its own trials, and a stale `LoaderBootCountPath` names an entry that must not become good.
///
/// # Errors
/// [`Error::Refused`] if not, with the reason; [`Error::Boot`] if it cannot be found out.
pub fn permit(root: &Root, config: &Config) -> Result<()> {
    let machine = Machine::read(root, config.slots.as_ref(), Access::Read)?;
    let finding = machine.finding();
    if is_left_to_others(&finding) && names_running_entry(&machine, &finding) {
        info!("the running entry is counted by another tool, which may mark it as good");
        return Ok(());
    }
    let why = match finding.boot {
        Boot::Committed | Boot::Fallback => "the running system is committed".to_owned(),
        Boot::Trial { attempt, tries } => {
            format!("Abide commits its own trials (this is try {attempt} of {tries})")
        }
        Boot::Unknown(contradiction) if contradiction.kind == Kind::CountedByOther => {
            "LoaderBootCountPath does not name the running entry".to_owned()
        }
        Boot::Unknown(contradiction) => contradiction.to_string(),
    };
    Err(Error::Refused(format!("no other tool may mark the running entry as good: {why}")))
}

/// Whether `LoaderBootCountPath`, which systemd-bless-boot follows, is that of the running entry in this boot.
fn names_running_entry(machine: &Machine, finding: &Finding) -> bool {
    let path = machine.vars.boot_count_path.as_deref();
    let is_of_this_boot = machine.kexec != Some(true);
    is_of_this_boot && finding.entry.as_ref().is_some_and(|entry| path == Some(entry.path().as_str()))
}

/// Whether the system's own blesser (systemd-bless-boot) may mark the running entry as good: it has a counter that
/// is not Abide's, and nothing else is in doubt.
#[must_use]
pub fn is_left_to_others(finding: &Finding) -> bool {
    finding.contradiction().is_some_and(|found| found.kind == Kind::CountedByOther)
}

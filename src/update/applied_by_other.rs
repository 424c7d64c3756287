//! What EMT's own `os-update-tool.sh` has left of an update that it has applied and that is not committed.

use log::warn;

use abide_core::boot::esp::safe_rename::discard;
use abide_core::boot::model::choice::{Settings, choose};
use abide_core::state::Stage;
use abide_core::update::finding::{Contradiction, Kind};
use abide_core::update::machine::Machine;

/// What that tool keeps of an update until it is committed (`BOOTDATA` of version 2.9).
const FOLDER: &str = "EFI/Linux/os-update-tool-data";
const FILE: &str = "linux.bak";

/// Why it is unknown what the variables pin.
pub const BLIND: &str =
    "the EFI variables, which pin an entry, cannot be read; mount efivarfs on /sys/firmware/efi/efivars";

/// Whether the running system is such an update that is not committed: it was booted once, and does not boot next.
#[must_use]
pub fn uncommitted(machine: &Machine) -> Option<Contradiction> {
    if !is_left_open(machine) {
        return None;
    }
    let running = machine.booted_entry()?.id();
    let blind = is_blind(machine) && !was_committed(machine);
    let seen = if blind {
        format!("{running} may have been booted once by EMT's own tool and not be committed: {BLIND}")
    } else if boots_next(machine) {
        return None;
    } else {
        format!("{running} was booted once by EMT's own tool and is not committed")
    };
    Some(Contradiction::new(Kind::AppliedByOther, seen))
}

/// Whether Abide itself has committed the running system.
#[must_use]
pub fn was_committed(machine: &Machine) -> bool {
    let update = machine.state().update;
    update.is_some_and(|update| update.stage == Stage::Committed && machine.runs(&update))
}

/// Whether the running system also boots next, apart from what is set for one boot.
pub fn boots_next(machine: &Machine) -> bool {
    let settings = Settings { oneshot: None, ..machine.settings.clone() };
    choose(&machine.entries, &settings, &machine.quirks)
        .is_some_and(|next| machine.is_this_system(&next.entry))
}

/// Whether that tool has left something, and no update of Abide's boots next.
pub fn is_left_open(machine: &Machine) -> bool {
    has_leftover(machine) && !machine.state().update.is_some_and(|update| update.is_open())
}

/// Whether it is unknown what the variables pin.
pub fn is_blind(machine: &Machine) -> bool {
    machine.vars.info.is_none() || machine.vars.unreadable
}

/// Removes what that tool has kept of the update. If that fails, it only takes space.
pub fn clean_up(machine: &Machine) {
    let path = format!("{FOLDER}/{FILE}");
    if let Err(e) = discard(machine.dirs.esp.as_ref(), &path) {
        warn!("{path} cannot be removed from the ESP: {e}");
    }
}

fn has_leftover(machine: &Machine) -> bool {
    let items = machine.dirs.esp.list(FOLDER).unwrap_or_default();
    items.iter().any(|item| item.name.eq_ignore_ascii_case(FILE))
}

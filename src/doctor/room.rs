//! Room on the ESP for the UKI of the next update.

use crate::doctor::finding::Finding;
use crate::update::WholeMachine;
use crate::update::write::{EspSpace, SPARE};
use abide_core::boot::BootPartition;
use abide_core::disk::SlotName;
use abide_core::update::Machine;

const MIB: u64 = 1 << 20;

/// The sizes on the ESP, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Space {
    /// Free once the other slot's UKIs are gone, as `write` removes them first.
    pub(super) free: u64,
    /// The largest UKI.
    pub(super) largest: u64,
    /// What must stay free in addition.
    pub(super) spare: u64,
}

pub(super) fn look(space: Space) -> Vec<Finding> {
    let Space { free, largest, spare } = space;
    let needed = largest.saturating_add(spare);
    let why = "a new UKI is written beside the running system's";
    let remedy = format!(
        "remove files that are not needed from the ESP, or enlarge it: it needs room for two UKIs of {} MiB and their \
         growth",
        largest.div_ceil(MIB)
    );
    let what = format!(
        "the ESP has room for {} MiB beside the running system's UKI, and the largest UKI takes {} MiB",
        free / MIB,
        largest.div_ceil(MIB)
    );
    if free < needed {
        vec![Finding::error("no-room", what).because(format!("{why}; `abide write` refuses")).remedy(remedy)]
    } else if free < needed.saturating_add(largest / 4) {
        vec![
            Finding::warning("little-room", what)
                .because(format!("{why}, and it may be larger"))
                .remedy(remedy),
        ]
    } else {
        vec![]
    }
}

/// Room on the ESP for the next UKI.
pub(super) fn read(machine: &Machine) -> Option<Space> {
    let room = EspSpace::of(machine.dirs.esp.as_ref()).ok()?;
    let largest = room.ukis.iter().filter(|(path, _)| is_uki(path)).map(|(_, len)| *len).max()?;
    let slots = machine.slots.as_ref();
    let other = machine.running_slot().ok().map(SlotName::other);
    let goes = |path: &str| {
        machine.entries.iter().any(|e| {
            let boots = slots.and_then(|slots| slots.of_cmdline(e.options.as_deref()?));
            e.partition == BootPartition::Esp && e.path() == path && other.is_some() && boots == other
        })
    };
    let freed: u64 = room.ukis.iter().filter(|(path, _)| goes(path)).map(|(_, len)| *len).sum();
    Some(Space { free: room.free.saturating_add(freed), largest, spare: SPARE })
}

fn is_uki(path: &str) -> bool {
    let path = path.to_ascii_lowercase();
    path.ends_with(".efi") || path.ends_with(".uki")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(free: u64) -> Vec<&'static str> {
        look(Space { free: free * MIB, largest: 40 * MIB, spare: MIB }).iter().map(|f| f.id).collect()
    }

    #[test]
    fn the_next_uki_must_fit_and_may_be_a_quarter_larger() {
        assert_eq!(ids(40), ["no-room"]);
        assert_eq!(ids(41), ["little-room"]);
        assert_eq!(ids(50), ["little-room"]);
        assert!(ids(51).is_empty());
    }
}

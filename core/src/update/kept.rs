//! Which systems the state remembers as committed ones.

use crate::boot::Entry;
use crate::disk::SlotName;
use crate::state::{Installed, State};

/// Whether the state remembers the system that `entry` boots as a committed one, whatever its name says: not another
/// version under the same name.
#[must_use]
pub fn is_kept(state: &State, entry: &Entry) -> bool {
    let id = entry.id();
    let is_it = |kept: &Installed| {
        kept.entry == id
            && (kept.version.is_empty() || entry.version.is_none() || entry.is_version(&kept.version))
    };
    SlotName::ALL.into_iter().filter_map(|slot| state.installed(slot)).any(is_it)
}

//! A simulation of boots: what each one changes, and which entry boots in the end.

use crate::boot::names::entry_name;
use abide_core::boot::model::choice::{Choice, Settings, choose};
use abide_core::boot::model::entry::{Entry, EntryKind, Starts};
use abide_core::boot::model::name::EntryName;
use abide_core::boot::model::order::loader_id;
use abide_core::boot::model::quirks::Quirks;

/// Whether the loader counts this entry down when it boots it.
#[must_use]
pub fn is_counted(entry: &Entry, quirks: &Quirks) -> bool {
    let kind = match entry.kind {
        EntryKind::Uki | EntryKind::Conf(Starts::Linux | Starts::Uki) => true,
        EntryKind::Conf(Starts::Efi) => quirks.counts_efi_conf,
        EntryKind::Conf(Starts::UkiUrl) => false,
    };
    kind && entry.name.counter().is_some() && !entry.read_only
}

/// The name that the loader gives the entry before it starts it. The suffix of a counted
/// entry becomes lower case with that.
#[must_use]
pub fn after_boot(entry: &Entry, quirks: &Quirks) -> EntryName {
    match entry.name.counter() {
        Some(counter) if is_counted(entry, quirks) => {
            let next = entry_name(entry.name.stem(), Some(counter.after_boot()), entry.name.suffix());
            next.unwrap_or_else(|| entry.name.clone())
        }
        _ => entry.name.clone(),
    }
}

/// One boot: the choice, and its changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Boot {
    /// What booted; the entry has its name from before.
    pub choice: Choice,
    /// The entries with the names that they have afterwards.
    pub entries: Vec<Entry>,
    /// The settings afterwards: the one-shot is used up, the last booted one noted.
    pub settings: Settings,
}

/// Simulates one boot.
#[must_use]
pub fn boot(entries: &[Entry], settings: &Settings, quirks: &Quirks) -> Option<Boot> {
    let choice = choose(entries, settings, quirks)?;
    let name = after_boot(&choice.entry, quirks);
    let same_file = |e: &Entry| {
        e.name == choice.entry.name && e.partition == choice.entry.partition && e.kind == choice.entry.kind
    };
    let entries =
        entries.iter().map(|e| if same_file(e) { e.renamed(name.clone()) } else { e.clone() }).collect();
    let mut after = Settings { oneshot: None, ..settings.clone() };
    let id = loader_id(&choice.entry, quirks);
    let is_saved = |v: &Option<String>| v.as_deref().is_some_and(|v| v.eq_ignore_ascii_case("@saved"));
    // `save_selected_entry`: not after a one-shot; only where `@saved` is the default.
    if settings.oneshot.as_deref().map(str::to_ascii_lowercase).as_deref() != Some(id.as_str()) {
        let wanted =
            is_saved(&settings.default) || (settings.default.is_none() && is_saved(&settings.conf.default));
        after.last_booted = wanted.then_some(id);
    }
    Some(Boot { choice, entries, settings: after })
}

/// Simulates boots in which nothing blesses an entry, until the same entry would boot forever. That
/// entry is the last choice. If all entries are counted, there is no such entry, and the last choice is
/// the one at which the tries ran out.
#[must_use]
pub fn tries(entries: &[Entry], settings: &Settings, quirks: &Quirks) -> Vec<Choice> {
    let left = |e: &Entry| e.name.counter().map_or(0, |c| usize::try_from(c.left).unwrap_or(usize::MAX));
    let boots = entries.iter().map(left).fold(0, usize::saturating_add).min(MOST_BOOTS);
    let most = boots + entries.len() + 2;
    let mut now = (entries.to_vec(), settings.clone());
    let mut choices = Vec::new();
    while choices.len() < most {
        let Some(boot) = boot(&now.0, &now.1, quirks) else { break };
        choices.push(boot.choice);
        let next = (boot.entries, boot.settings);
        if next == now {
            break;
        }
        now = next;
    }
    choices
}

/// No update has more tries than this; the simulation stops there.
const MOST_BOOTS: usize = 1000;

#[cfg(test)]
mod tests;

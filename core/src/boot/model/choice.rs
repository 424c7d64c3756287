//! A model of systemd-boot's choice: which entry it boots and why, and what it makes of that entry's
//! name. If no setting names an entry, the first one in [`super::order`] boots.
//!
//! Pure, and true to systemd 252.39, 257.13 and 262 (`src/boot/efi/boot.c` in 252,
//! `src/boot/boot.c` since). What differs between versions is data: [`Quirks`].

use std::fmt;

use crate::boot::model::entry::{Entry, EntryState};
use crate::boot::model::glob;
use crate::boot::model::loader_conf::LoaderConf;
use crate::boot::model::order::{loader_id, order};
use crate::boot::model::quirks::Quirks;

/// What steers the choice in addition to the entries: `loader.conf` and the variables.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settings {
    /// `loader/loader.conf` of the ESP.
    pub conf: LoaderConf,
    /// `LoaderEntryOneShot`
    pub oneshot: Option<String>,
    /// `LoaderEntryPreferred`
    pub preferred: Option<String>,
    /// `LoaderEntryDefault`
    pub default: Option<String>,
    /// `LoaderEntryLastBooted`, which stands for `@saved`.
    pub last_booted: Option<String>,
}

/// Why an entry is the one that boots.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Because {
    /// `LoaderEntryOneShot` names it.
    OneShot(String),
    /// A preferred entry with tries left; the setting and its pattern.
    Preferred(&'static str, String),
    /// A default, whatever its counter says; the setting and its pattern.
    Default(&'static str, String),
    /// The first of the order; its state, and whether it was compared by version.
    First(EntryState, bool),
}

impl fmt::Display for Because {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OneShot(pattern) => write!(f, "one-shot (LoaderEntryOneShot is {pattern})"),
            Self::Preferred(setting, pattern) => write!(f, "preferred entry ({setting} is {pattern})"),
            Self::Default(setting, pattern) => write!(f, "pinned default ({setting} is {pattern})"),
            Self::First(EntryState::Bad, _) => f.write_str("no entry has tries left; first in order"),
            Self::First(EntryState::Trial, true) => f.write_str("highest version with tries left"),
            Self::First(EntryState::Good, true) => f.write_str("highest version"),
            Self::First(EntryState::Trial, false) => f.write_str("first in order, with tries left"),
            Self::First(EntryState::Good, false) => f.write_str("first in order"),
        }
    }
}

/// The entry that boots, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    /// The entry, with the name that it has before the boot.
    pub entry: Entry,
    /// The reason.
    pub because: Because,
}

/// What the loader boots next; `None` if it has no entry at all.
///
/// 252: `config_default_entry_select`; 257 and 262: `config_select_default_entry`.
/// Not modelled: a key pressed in the menu, `LoaderEntrySysFail` (262, only after a
/// firmware failure), and entries that the loader finds elsewhere (Windows, SMBIOS).
#[must_use]
pub fn choose(entries: &[Entry], settings: &Settings, quirks: &Quirks) -> Option<Choice> {
    let order = order(entries, quirks);
    let pinned = pins(settings, quirks).into_iter().find_map(|pin| {
        let entry = order.iter().find(|e| {
            glob::matches(&pin.pattern, &loader_id(e, quirks))
                && !(pin.skips_bad && e.state() == EntryState::Bad)
        })?;
        Some(Choice { entry: entry.clone(), because: pin.because })
    });
    pinned.or_else(|| {
        // "For now, never select any non-default profile" (261).
        let entry = order.iter().find(|e| e.profile == 0 || !quirks.profile_by_name)?;
        let keyed = entry.sort_key.is_some() && entry.version.is_some();
        Some(Choice { entry: entry.clone(), because: Because::First(entry.state(), keyed) })
    })
}

struct Pin {
    pattern: String,
    skips_bad: bool,
    because: Because,
}

/// The settings that name an entry, in the order in which the loader asks them.
fn pins(settings: &Settings, quirks: &Quirks) -> Vec<Pin> {
    let mut pins = Vec::new();
    let fold = |pattern: &Option<String>| pattern.as_deref().map(str::to_ascii_lowercase);
    if let Some(pattern) = fold(&settings.oneshot) {
        let because = Because::OneShot(pattern.clone());
        pins.push(Pin { pattern, skips_bad: false, because });
    }
    if quirks.preferred {
        for (setting, value) in [
            ("LoaderEntryPreferred", &settings.preferred),
            ("preferred in loader.conf", &settings.conf.preferred),
        ] {
            if let Some(pattern) = saved(fold(value), settings) {
                let because = Because::Preferred(setting, pattern.clone());
                pins.push(Pin { pattern, skips_bad: true, because });
            }
        }
    }
    for (setting, value) in
        [("LoaderEntryDefault", &settings.default), ("default in loader.conf", &settings.conf.default)]
    {
        if let Some(pattern) = saved(fold(value), settings) {
            let because = Because::Default(setting, pattern.clone());
            pins.push(Pin { pattern, skips_bad: false, because });
        }
    }
    pins
}

/// `@saved` stands for the entry that was booted last, if one was.
fn saved(pattern: Option<String>, settings: &Settings) -> Option<String> {
    if pattern.as_deref() == Some("@saved") { settings.last_booted.clone() } else { pattern }
}

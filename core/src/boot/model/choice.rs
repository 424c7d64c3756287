//! A model of systemd-boot's choice: which entry it boots and why, and what it makes
//! of that entry's name.
//!
//! Pure, and true to systemd 252.39, 257.13 and 262 (`src/boot/efi/boot.c` in 252,
//! `src/boot/boot.c` since). What differs between versions is data: [`Quirks`].

use std::fmt;

use crate::boot::model::entry::{Entry, EntryState};
use crate::boot::model::glob;
use crate::boot::model::loader_conf::LoaderConf;
use crate::boot::model::name::EntryName;
use crate::boot::model::order::{is_counted, loader_id, order};
use crate::boot::model::quirks::Quirks;

/// What steers the choice beside the entries: `loader.conf` and the variables.
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

impl Because {
    /// Whether a setting rather than the order decided.
    #[must_use]
    pub fn is_pinned(&self) -> bool {
        !matches!(self, Self::First(..))
    }
}

impl fmt::Display for Because {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OneShot(pattern) => write!(f, "one-shot (LoaderEntryOneShot is {pattern})"),
            Self::Preferred(setting, pattern) => write!(f, "preferred entry ({setting} is {pattern})"),
            Self::Default(setting, pattern) => write!(f, "pinned default ({setting} is {pattern})"),
            Self::First(EntryState::Bad, _) => f.write_str("no entry has tries left; first of these"),
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

/// The name that the loader gives the entry before it starts it. The suffix of a counted
/// entry becomes lower case with that.
#[must_use]
pub fn after_boot(entry: &Entry, quirks: &Quirks) -> EntryName {
    match entry.name.counter() {
        Some(counter) if is_counted(entry, quirks) => {
            let next = EntryName::new(entry.name.stem(), Some(counter.after_boot()), entry.name.suffix());
            next.unwrap_or_else(|| entry.name.clone())
        }
        _ => entry.name.clone(),
    }
}

/// One boot: the choice, and what it leaves behind.
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

/// Boots again and again, as a machine does on which nothing ever blesses an
/// entry, until the same entry would come up for ever. The last choice is the one
/// that the loader settles on; with counted entries alone it never does, and
/// then the last one is where the tries ran out.
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

/// Nobody gives an update more tries than this; beyond it the simulation stops.
const MOST_BOOTS: usize = 1000;

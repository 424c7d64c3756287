//! The EFI variables that override the boot counters.

use std::fmt;

use crate::boot::model::choice::Settings;

/// A variable that the loader obeys before it looks at the counters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Override {
    /// Names the entry for one boot; the loader deletes it.
    OneShot,
    /// Pins an entry, if it is not bad (systemd-boot 260).
    Preferred,
    /// Pins an entry.
    Default,
}

impl Override {
    /// In the order in which the loader reads them.
    const ALL: [Self; 3] = [Self::OneShot, Self::Preferred, Self::Default];

    /// The variable's name without the vendor's GUID.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::OneShot => "LoaderEntryOneShot",
            Self::Preferred => "LoaderEntryPreferred",
            Self::Default => "LoaderEntryDefault",
        }
    }

    /// Those that are set.
    #[must_use]
    pub fn set_in(settings: &Settings) -> Vec<Self> {
        Self::ALL.into_iter().filter(|variable| variable.is_set(settings)).collect()
    }

    /// Those that are set and pin an entry for more than one boot.
    #[must_use]
    pub fn pins_in(settings: &Settings) -> Vec<Self> {
        Self::set_in(settings).into_iter().filter(|variable| *variable != Self::OneShot).collect()
    }

    /// Whether the variable is set.
    #[must_use]
    pub fn is_set(self, settings: &Settings) -> bool {
        match self {
            Self::OneShot => settings.oneshot.is_some(),
            Self::Preferred => settings.preferred.is_some(),
            Self::Default => settings.default.is_some(),
        }
    }

    /// Records that the variable was deleted.
    pub fn clear(self, settings: &mut Settings) {
        match self {
            Self::OneShot => settings.oneshot = None,
            Self::Preferred => settings.preferred = None,
            Self::Default => settings.default = None,
        }
    }

    /// The settings once every override is deleted.
    #[must_use]
    pub fn all_cleared(settings: &Settings) -> Settings {
        let mut settings = settings.clone();
        Self::ALL.into_iter().for_each(|variable| variable.clear(&mut settings));
        settings
    }
}

impl fmt::Display for Override {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

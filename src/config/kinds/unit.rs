//! `kind = "unit"`: named units are active, or have finished.

use abide_core::config::form::{Count, TextRule};
use abide_core::config::section::Section;
use abide_core::error::Result;

use crate::config::described::DescribedText;
use crate::config::forms::List;
use crate::config::table::settings;

settings! {
    /// `kind = "unit"`.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct UnitCheck checked by names_a_unit {
        /// The units. Each must be active, or have finished if it is a oneshot.
        pub units: List<UnitName>, example ["app.service"];
        /// How often systemd may restart each of them while it is watched.
        pub restarts_allowed: Count<0, 1000> = 0;
    }
}

impl UnitCheck {
    fn names_a_unit(&self, section: &Section<'_>) -> Result<()> {
        if self.units.is_empty() { Err(section.error_at("units", "must not be empty")) } else { Ok(()) }
    }
}

/// The name of a unit, with its suffix.
#[derive(Debug)]
pub struct UnitName;

impl TextRule for UnitName {
    fn problem(text: &str) -> Option<String> {
        const SUFFIXES: [&str; 11] = [
            "service",
            "socket",
            "target",
            "mount",
            "automount",
            "swap",
            "timer",
            "path",
            "slice",
            "scope",
            "device",
        ];
        let is_name = text
            .rsplit_once('.')
            .is_some_and(|(stem, suffix)| !stem.is_empty() && SUFFIXES.contains(&suffix));
        (!is_name).then(|| format!("'{text}' is not the name of a unit; it needs a suffix such as .service"))
    }
}

impl DescribedText for UnitName {
    const NAME: &'static str = "unit name";
}

//! `kind = "unit"`: named units are active, or finished.

use abide_core::config::section::Section;
use abide_core::error::Result;

/// `kind = "unit"`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnitCheck {
    /// The units, all of which must be active (or have finished, for a oneshot).
    pub units: Vec<String>,
    /// How often each may be restarted by systemd while it is watched.
    pub restarts_allowed: u32,
}

impl UnitCheck {
    pub(in crate::config) fn read(section: &mut Section<'_>) -> Result<Self> {
        let units = section.texts("units")?.unwrap_or_default();
        if units.is_empty() {
            return Err(section.error("a check of kind unit needs units = [\"NAME.service\"]"));
        }
        if let Some(unit) = units.iter().find(|unit| !is_unit_name(unit)) {
            return Err(section.error_at(
                "units",
                &format!("'{unit}' is not the name of a unit; it needs a suffix such as .service"),
            ));
        }
        Ok(Self { units, restarts_allowed: section.count("restarts_allowed", 0..=1000)?.unwrap_or(0) })
    }
}

/// Whether `name` has one of systemd's suffixes of units.
fn is_unit_name(name: &str) -> bool {
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
    name.rsplit_once('.').is_some_and(|(stem, suffix)| !stem.is_empty() && SUFFIXES.contains(&suffix))
}

//! The space on the ESP.

use abide_core::boot::Volume;
use abide_core::boot::model::entry::UKI_DIR;
use abide_core::error::{OrError, Result};
use abide_core::update::step::STAGED_UKI;

/// Bytes that must stay free on the ESP beside the UKI, for the state and for the FAT itself.
pub const SPARE: u64 = 128 * 1024;

/// The space on the ESP.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EspSpace {
    /// Free bytes, including those of an earlier staged UKI, which is removed first.
    pub free: u64,
    /// The paths of the files in `EFI/Linux`, with their sizes.
    pub ukis: Vec<(String, u64)>,
}

impl EspSpace {
    /// Reads it.
    ///
    /// # Errors
    /// [`abide_core::error::Error::Boot`] if the ESP cannot be read.
    pub fn of(esp: &dyn Volume) -> Result<Self> {
        let cannot = || "cannot read the ESP";
        let items = esp.list(UKI_DIR).or_boot(cannot)?;
        let ukis: Vec<_> =
            items.into_iter().map(|item| (format!("{UKI_DIR}/{}", item.name), item.len)).collect();
        let old =
            ukis.iter().find(|(path, _)| path.eq_ignore_ascii_case(STAGED_UKI)).map_or(0, |(_, len)| *len);
        Ok(Self { free: esp.free_bytes().or_boot(cannot)?.saturating_add(old), ukis })
    }
}

//! The UKI on the ESP, under a name that no loader shows.

use std::io::{self, Read};

use crate::image::sha256::{HashingReader, of_reader};
use abide_core::boot::Volume;
use abide_core::boot::model::entry::UKI_DIR;
use abide_core::error::{Error, OrError, Result};
use abide_core::state::Uki;
use abide_core::update::step::STAGED_UKI;

/// Writes the UKI, flushes it and reads it back.
pub fn write(esp: &dyn Volume, from: impl Read) -> Result<Uki> {
    let mut from = HashingReader::new(from);
    let cannot = || format!("{STAGED_UKI}: cannot write (is the ESP full?)");
    esp.create_dir(UKI_DIR).or_boot(cannot)?;
    let size = esp.write(STAGED_UKI, &mut from).or_boot(cannot)?;
    esp.sync_file(STAGED_UKI).or_boot(cannot)?;
    esp.sync_dir(UKI_DIR).or_boot(cannot)?;
    let written = Uki { sha256: from.finish().0, size };
    let read = esp.open_on_disk(STAGED_UKI).and_then(measure);
    if read.or_boot(|| format!("{STAGED_UKI}: cannot read back"))? != written {
        return Err(Error::Unverified(format!(
            "{STAGED_UKI}: differs from what was written; the disk is failing, replace it"
        )));
    }
    Ok(written)
}

/// Size and SHA-256 of a UKI.
pub fn measure(reader: impl Read) -> io::Result<Uki> {
    of_reader(reader).map(|(sha256, size)| Uki { sha256, size })
}

//! The UKI on the ESP, under a name that no loader shows.

use std::io::{self, Read};

use sha2::{Digest, Sha256};

use crate::update::write::opened::sha256;
use abide_core::boot::Volume;
use abide_core::boot::model::entry::UKI_DIR;
use abide_core::error::{Error, OrError, Result};
use abide_core::hex;
use abide_core::state::Uki;
use abide_core::update::STAGED_UKI;

/// What there is room for on the ESP.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Room {
    /// Free bytes, the staged UKI of an earlier update counted in, since it goes first.
    pub free: u64,
    /// The files in `EFI/Linux`, by path, with their sizes.
    pub ukis: Vec<(String, u64)>,
}

impl Room {
    /// Looks at the ESP.
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

/// Writes the UKI, flushes it and reads it back.
pub fn uki(esp: &dyn Volume, from: &mut impl Read) -> Result<Uki> {
    let mut from = Hashing { from, hash: Sha256::new() };
    let cannot = || format!("{STAGED_UKI}: cannot write (is the ESP full?)");
    esp.create_dir(UKI_DIR).or_boot(cannot)?;
    let size = esp.write(STAGED_UKI, &mut from).or_boot(cannot)?;
    esp.sync_file(STAGED_UKI).or_boot(cannot)?;
    esp.sync_dir(UKI_DIR).or_boot(cannot)?;
    let written = Uki { sha256: hex::encode(&from.hash.finalize()), size };
    let read = esp.open_on_disk(STAGED_UKI).and_then(|mut file| sha256(&mut file));
    if read.or_boot(|| format!("{STAGED_UKI}: cannot read back"))? != written {
        return Err(Error::Unverified(format!("{STAGED_UKI}: reads back differently; the disk is failing")));
    }
    Ok(written)
}

struct Hashing<'a, R> {
    from: &'a mut R,
    hash: Sha256,
}

impl<R: Read> Read for Hashing<'_, R> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        let count = self.from.read(to)?;
        self.hash.update(to.get(..count).unwrap_or_default());
        Ok(count)
    }
}

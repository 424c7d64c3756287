//! The staged UKI on the ESP.

use std::io::Read;

use sha2::{Digest, Sha256};

use abide_core::boot::Entry;
use abide_core::boot::esp::entries;
use abide_core::boot::model::name::{EntryName, Suffix};
use abide_core::error::{Error, OrError, Result};
use abide_core::hex;
use abide_core::state::Update;
use abide_core::update::STAGED_UKI;
use abide_core::update::machine::Machine;

/// Bytes that are read at once.
const BLOCK: usize = 1 << 20;

/// Checks that the UKI at `path` on the ESP is still what was verified when it was written,
/// by what the disk holds and not by what is cached.
///
/// # Errors
/// [`Error::Unverified`] if it is not, [`Error::Nothing`] if it has disappeared.
pub fn verify(machine: &Machine, update: &Update, path: &str) -> Result<()> {
    let Some(known) = &update.uki else {
        return Err(Error::Nothing("the staged update has no UKI; write it again".into()));
    };
    let mut file = machine.dirs.esp.open_on_disk(path).map_err(|e| {
        Error::Nothing(format!("the staged UKI {path} cannot be opened ({e}); write it again"))
    })?;
    let mut hash = Sha256::new();
    let mut size = 0_u64;
    let mut block = vec![0_u8; BLOCK];
    loop {
        let n = file.read(&mut block).or_boot(|| format!("{path}: cannot read"))?;
        let Some(part) = block.get(..n).filter(|p| !p.is_empty()) else { break };
        hash.update(part);
        size += n as u64;
    }
    if size != known.size || hex::encode(&hash.finalize()) != known.sha256 {
        return Err(Error::Unverified(format!(
            "the staged UKI {path} is not what was written any more; write the update again"
        )));
    }
    Ok(())
}

/// The staged UKI as the boot entry that it will be, without a counter.
///
/// # Errors
/// [`Error::Boot`] if it cannot be read as a UKI.
pub fn entry(machine: &Machine, stem: &str) -> Result<Entry> {
    let name = EntryName::new(stem, None, Suffix::Efi)
        .ok_or_else(|| Error::Refused(format!("{stem} cannot be the name of a boot entry")))?;
    entries::uki_at(machine.dirs.esp.as_ref(), STAGED_UKI, &name, &machine.quirks)
}

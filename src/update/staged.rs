//! The staged UKI on the ESP.

use crate::boot::names::entry_name;
use crate::image::sha256;
use abide_core::boot::esp::entries::uki_entry;
use abide_core::boot::esp::volume::Item;
use abide_core::boot::model::name::Suffix;
use abide_core::boot::model::uki;
use abide_core::boot::{BootPartition, Entry};
use abide_core::error::{Error, OrError, Result};
use abide_core::state::Update;
use abide_core::update::STAGED_UKI;
use abide_core::update::machine::Machine;

/// Checks that the UKI at `path` on the ESP is still what was verified when it was written, by the
/// content of the disk, not of the page cache.
///
/// # Errors
/// [`Error::Unverified`] if it is not, [`Error::Nothing`] if it has disappeared.
pub fn verify(machine: &Machine, update: &Update, path: &str) -> Result<()> {
    let Some(known) = &update.uki else {
        return Err(Error::Nothing("the staged update has no UKI; write it again".into()));
    };
    let file = machine.dirs.esp.open_on_disk(path).map_err(|e| {
        Error::Nothing(format!("the staged UKI {path} cannot be opened ({e}); write it again"))
    })?;
    let (digest, size) = sha256::of_reader(file).or_boot(|| format!("{path}: cannot read"))?;
    if size != known.size || digest != known.sha256 {
        return Err(Error::Unverified(format!(
            "the staged UKI {path} differs from what was written; write the update again"
        )));
    }
    Ok(())
}

/// The staged UKI as the boot entries that it will be, without a counter: its first profile, and the others.
///
/// # Errors
/// [`Error::Boot`] if it cannot be read as a UKI.
pub fn entries(machine: &Machine, stem: &str) -> Result<(Entry, Vec<Entry>)> {
    let name = entry_name(stem, None, Suffix::Efi)
        .ok_or_else(|| Error::Refused(format!("{stem} cannot be the name of a boot entry")))?;
    let (path, single_quotes) = (STAGED_UKI, machine.quirks.single_quotes);
    let file = machine.dirs.esp.open(path).or_boot(|| format!("{path}: cannot open"))?;
    let uki = uki::read(file, single_quotes).or_boot(|| format!("{path}: not a UKI"))?;
    let item = Item { name: name.to_string(), is_dir: false, len: 0, read_only: false };
    let of = |profile, number| uki_entry(BootPartition::Esp, &item, &name, profile, number);
    let main = of(&uki.main, 0).ok_or_else(|| {
        Error::Boot(format!("{path}: its .osrel has no name, so the boot loader does not show it"))
    })?;
    Ok((main, uki.others.iter().zip(1..).filter_map(|(profile, number)| of(profile, number)).collect()))
}

//! The staged UKI on the ESP.

use std::io::{Read, Seek};

use crate::boot::names::entry_name;
use crate::disk::hash_file::{HashFiles, Purpose};
use crate::image::sha256;
use crate::update::WholeMachine;
use abide_core::boot::esp::entries::uki_entry;
use abide_core::boot::esp::volume::Item;
use abide_core::boot::model::name::Suffix;
use abide_core::boot::model::uki;
use abide_core::boot::{BootPartition, Entry};
use abide_core::disk::RootArg;
use abide_core::error::{Error, OrError, Result};
use abide_core::state::Update;
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

/// Checks that the slot is still the one that was written, where its UKI finds it by what it holds (`boot_uuid=`): whatever
/// replaces the root replaces its UUID, and whatever replaces the tree that the machine makes, the root hash.
///
/// # Errors
/// [`Error::Unverified`] if it is not, [`Error::Failed`] if that cannot be read.
pub fn verify_slot(machine: &Machine, update: &Update) -> Result<()> {
    if let Some(root_hash) = &update.root_hash {
        verify_own_tree(machine, update, root_hash)?;
    }
    let Some(root) = RootArg::parse(&update.root).filter(|root| matches!(root, RootArg::BootUuid(_))) else {
        return Ok(());
    };
    let slot = machine.slots()?.get(update.slot);
    if !slot.is(&root) {
        return Err(Error::Unverified(format!(
            "slot {} does not have the {} of the staged update: another tool has written it; write the update again",
            slot.name, update.root
        )));
    }
    Ok(())
}

fn verify_own_tree(machine: &Machine, update: &Update, root_hash: &String) -> Result<()> {
    let slots = machine.slots()?;
    let slot = slots.get(update.slot);
    let Some(own_tree) = &slot.own_tree else {
        return Err(Error::Unverified(format!(
            "slot {} has no place for a hash tree any more ({}); write the update again",
            slot.name, slots.layout.kind
        )));
    };
    let file = HashFiles::open(&machine.root, &own_tree.hash_file, Purpose::Read)?;
    let name = &own_tree.hash_file.name;
    if file.read().or_failed(|| format!("{name}: cannot read"))?.as_ref() != Some(root_hash) {
        return Err(Error::Unverified(format!(
            "{name} does not hold the root hash of the staged update: another tool has written slot {}; write the update again",
            slot.name
        )));
    }
    Ok(())
}

/// A UKI as the boot entries that it will be under this stem, without a counter: its first profile, and the others.
/// `path` is what messages call it.
///
/// # Errors
/// [`Error::Boot`] if it cannot be read as a UKI.
pub fn entries(
    file: impl Read + Seek,
    path: &str,
    single_quotes: bool,
    stem: &str,
) -> Result<(Entry, Vec<Entry>)> {
    let name = entry_name(stem, None, Suffix::Efi)
        .ok_or_else(|| Error::Refused(format!("{stem} cannot be the name of a boot entry")))?;
    let uki = uki::read(file, single_quotes).or_boot(|| format!("{path}: not a UKI"))?;
    let item = Item { name: name.to_string(), is_dir: false, len: 0, read_only: false };
    let of = |profile, number| uki_entry(BootPartition::Esp, &item, &name, profile, number);
    let main = of(&uki.main, 0).ok_or_else(|| {
        Error::Boot(format!("{path}: its .osrel has no name, so the boot loader does not show it"))
    })?;
    Ok((main, uki.others.iter().zip(1..).filter_map(|(profile, number)| of(profile, number)).collect()))
}

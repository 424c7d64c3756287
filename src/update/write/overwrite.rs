//! Whether a slot may be overwritten: judged by all witnesses, and again right before its first byte is.

use abide_core::boot::Entry;
use abide_core::boot::model::entry::{EntryKind, Starts};
use abide_core::disk::{RootArg, SlotName};
use abide_core::error::{Error, Result};
use abide_core::update::finding::{Identity, Witnesses};
use abide_core::update::guard::Guard;

/// Refuses unless another slot than `target` runs by every witness, and its entry is good.
///
/// # Errors
/// [`Error::Refused`] with the reason and what to do.
pub fn refuse_to_overwrite(witnesses: &Witnesses<'_>, target: SlotName) -> Result<()> {
    let entry = Guard::new(witnesses).good()?;
    let identity = Identity::of(witnesses);
    if identity.named.contains(&target) {
        return refused(format!("slot {target} runs, and cannot be overwritten"));
    }
    // A copy of the file system has the same UUID and label, and the link of udev leads to one of the two.
    let by_file_system = matches!(witnesses.kernel, Some(RootArg::FsUuid(_) | RootArg::FsLabel(_)));
    if by_file_system && witnesses.mounted.is_none() {
        return refused(format!(
            "cannot verify that slot {} is running: the kernel's root= names a file system, which both slots may \
             hold; build the UKI {} with root=PARTUUID=… of its slot",
            target.other(),
            entry.id()
        ));
    }
    let names_root = witnesses.kernel.and_then(|root| witnesses.slot_of(root)).is_some()
        || witnesses.slot_of_entry(entry).is_some();
    let is_that_version = witnesses.version.is_some() && witnesses.version == entry.version.as_deref();
    // The mount alone is one source: user space may have been switched to it.
    if identity.slot != Some(target.other()) || !names_root && !is_that_version {
        return refused(format!(
            "cannot verify that slot {} is running; build the UKI {} with root=PARTUUID=… of its slot",
            target.other(),
            entry.id()
        ));
    }
    Ok(())
}

/// Refuses unless nothing boots the slot `target` any more and it may be overwritten.
///
/// # Errors
/// As [`refuse_to_overwrite`], and if an entry still boots it.
pub fn refuse_to_overwrite_now(witnesses: &Witnesses<'_>, target: SlotName) -> Result<()> {
    refuse_to_overwrite(witnesses, target)?;
    let running = Guard::new(witnesses).good()?;
    let may_boot_it = |entry: &&Entry| {
        // Not a tool such as memtest, which has no root either.
        let is_linux = entry.kind != EntryKind::Conf(Starts::Efi);
        let is_sibling = is_linux && entry.sort_key == running.sort_key;
        is_sibling && entry.id() != running.id() && Witnesses::root_of(entry).is_none()
    };
    if let Some(entry) = witnesses.entries.iter().find(may_boot_it) {
        return refused(format!(
            "{} names no root and may boot slot {target}; remove it, or build it with root=PARTUUID=… of its slot",
            entry.path()
        ));
    }
    match witnesses.entries.iter().find(|entry| witnesses.slot_of_entry(entry) == Some(target)) {
        None => Ok(()),
        Some(entry) => refused(format!("{} still boots slot {target}", entry.path())),
    }
}

fn refused(why: String) -> Result<()> {
    Err(Error::Refused(why))
}

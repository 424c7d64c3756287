//! Whether a slot may be overwritten: judged by all witnesses, and again right before its first byte is.

use abide_core::disk::SlotName;
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
    if identity.slot != Some(target.other()) {
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
    match witnesses.entries.iter().find(|entry| witnesses.slot_of_entry(entry) == Some(target)) {
        None => Ok(()),
        Some(entry) => refused(format!("{} still boots slot {target}", entry.path())),
    }
}

fn refused(why: String) -> Result<()> {
    Err(Error::Refused(why))
}

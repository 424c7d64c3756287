//! Whether the firmware would start a UKI: with Secure Boot, one that it refuses costs all tries.

use std::io::{Read, Seek};

use log::warn;

use crate::boot::secure_boot::{Enforcing, SecureBoot, Verdict, judge};
use abide_core::boot::Entry;
use abide_core::boot::model::entry::EntryKind;
use abide_core::error::{Error, OrError, Result};
use abide_core::update::machine::Machine;

/// Refuses a UKI that the firmware would not start. `name` is what messages call it.
///
/// The rule and the firmware's lists are one witness; that the firmware has started the `running` entry is another. Where
/// they contradict each other, or the lists cannot be read, this only warns.
///
/// # Errors
/// [`Error::Refused`], with the reason and the remedy.
pub fn refuse_unstartable(
    machine: &Machine,
    running: &Entry,
    name: &str,
    mut file: impl Read + Seek,
) -> Result<()> {
    let firmware = match SecureBoot::read(&machine.root) {
        SecureBoot::Off => return Ok(()),
        SecureBoot::Unknown(why) => {
            warn!("{name}: it is not known whether the firmware would start its UKI: {why}");
            return Ok(());
        }
        SecureBoot::On(firmware) => firmware,
    };
    let verdict = judge(&firmware, &mut file).or_image(|| format!("{name}: cannot read its UKI"))?;
    let why = match verdict {
        Verdict::Starts => return Ok(()),
        Verdict::Unknown(why) => {
            warn!("{name}: it is not known whether the firmware would start its UKI: {why}");
            return Ok(());
        }
        Verdict::Refused(why) => why,
    };
    let refusal = format!("{name}: Secure Boot is on, and the firmware would not start its UKI: {why}");
    match judge_entry(machine, &firmware, running) {
        Ok(Verdict::Starts) => Err(Error::Refused(refusal)),
        Ok(Verdict::Refused(_)) => {
            warn!(
                "{refusal}. By the same rule it would not start the running {} either, so this is ignored",
                running.path()
            );
            Ok(())
        }
        Ok(Verdict::Unknown(why)) => {
            warn!(
                "{refusal}. The same is not known of the running {} ({why}), so this is ignored",
                running.path()
            );
            Ok(())
        }
        Err(e) => {
            warn!("{refusal}. The running entry cannot be compared ({e}), so this is ignored");
            Ok(())
        }
    }
}

/// The same for a boot entry.
///
/// # Errors
/// As [`refuse_unstartable`], and [`Error::Boot`] if its file cannot be read.
pub fn refuse_unstartable_entry(machine: &Machine, running: &Entry, entry: &Entry) -> Result<()> {
    let path = file_of(entry);
    let file =
        machine.dirs.volume(entry.partition)?.open(&path).or_boot(|| format!("{path}: cannot open"))?;
    refuse_unstartable(machine, running, &path, file)
}

/// Whether the firmware would start what an entry starts.
///
/// # Errors
/// [`Error::Boot`] if it cannot be read.
pub fn judge_entry(machine: &Machine, firmware: &Enforcing, entry: &Entry) -> Result<Verdict> {
    let path = file_of(entry);
    let volume = machine.dirs.volume(entry.partition)?;
    let mut file = volume.open(&path).or_boot(|| format!("{path}: cannot open"))?;
    judge(firmware, &mut file).or_boot(|| format!("{path}: cannot read"))
}

/// The file that an entry starts, on its partition.
#[must_use]
pub fn file_of(entry: &Entry) -> String {
    match (entry.kind, &entry.starts) {
        (EntryKind::Conf(_), Some(starts)) => starts.clone(),
        _ => entry.path(),
    }
}

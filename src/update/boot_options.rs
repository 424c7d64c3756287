//! Firmware boot options: enough of them for a loader that exits if it cannot start a UKI.

use std::io::Read;

use efivar::boot::{EFIHardDrive, EFIHardDriveType};
use log::{debug, warn};

use crate::boot::firmware::{BootOptions, LoaderPath, carry_out, fold};
use crate::disk::extent::extent;
use abide_core::arch::NATIVE;
use abide_core::boot::EfiVars;
use abide_core::error::{Error, OrError, Result};
use abide_core::update::machine::Machine;

/// What every systemd-boot contains in its section `.sdmagic`.
const MAGIC: &[u8] = b"#### LoaderInfo: systemd-boot ";
/// The largest file that is searched for it; systemd-boot has a tenth of that size.
const MAX_BYTES: u64 = 4 << 20;

/// The number of boot options that lead to the loader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Count {
    /// The present number.
    pub have: usize,
    /// The number needed: one for each try, and one for the boot after them.
    pub needed: usize,
}

impl Count {
    /// Whether there are enough.
    #[must_use]
    pub fn is_enough(self) -> bool {
        self.have >= self.needed
    }
}

/// Counts the options; `None` with a loader that needs only one.
///
/// # Errors
/// [`Error::Boot`] if the firmware does not show its options, or which ESP the loader came from.
pub fn count(machine: &Machine, tries: u32) -> Result<Option<Count>> {
    let Some(needed) = needed(machine, tries) else { return Ok(None) };
    let (options, loader) = (read(machine)?, loader_path(machine)?);
    Ok(Some(Count { have: options.leading(&loader).len(), needed }))
}

/// Adds the missing options and returns the new count; `None` if none were missing. Existing options are
/// neither changed nor removed nor reordered.
///
/// # Errors
/// As [`count`], and [`Error::Boot`] if the firmware accepts no more: nothing is changed then.
pub fn add(machine: &Machine, tries: u32) -> Result<Option<Count>> {
    let Some(needed) = needed(machine, tries) else { return Ok(None) };
    let (options, loader) = (read(machine)?, loader_path(machine)?);
    let partition = partition(machine, &loader.partuuid);
    let cannot = |e: String| Error::Boot(format!("cannot add firmware boot options: {e}"));
    let Some(plan) = options.plan(&loader, needed, partition).map_err(cannot)? else { return Ok(None) };
    debug!("{plan:?}");
    carry_out(&mut EfiVars::new(&machine.root), &plan).map_err(|e| cannot(explain(&e, plan.create.len())))?;
    let have = read(machine)?.leading(&loader).len();
    if have < needed {
        // Some firmware accepts the options and does not store them.
        return Err(cannot(format!(
            "the firmware did not store all of them: {have} of {needed} lead to the boot loader"
        )));
    }
    Ok(Some(Count { have, needed }))
}

/// Logs a warning if there are too few. What cannot be counted is reported by `doctor`.
pub(super) fn warn_if_short(machine: &Machine, tries: u32) {
    match count(machine, tries) {
        Ok(Some(count)) if !count.is_enough() => warn!(
            "{} of {} firmware boot options lead to the boot loader: if it cannot start the new UKI, the machine \
             may hang in the firmware; `abide doctor --fix` adds the missing ones",
            count.have, count.needed
        ),
        Ok(_) => {}
        Err(e) => debug!("{e}"),
    }
}

fn needed(machine: &Machine, tries: u32) -> Option<usize> {
    (!machine.quirks.reboots_on_error).then(|| usize::try_from(tries).unwrap_or(usize::MAX).saturating_add(1))
}

fn read(machine: &Machine) -> Result<BootOptions> {
    BootOptions::read(&EfiVars::new(&machine.root))
        .or_boot(|| "cannot read the firmware's boot options")?
        .ok_or_else(|| Error::Boot("the firmware has no boot options (EFI variable BootOrder)".into()))
}

/// The paths to the loader: the one of this boot, and every copy on the ESP.
fn loader_path(machine: &Machine) -> Result<LoaderPath> {
    let partuuid = machine.vars.device_partuuid.clone().ok_or_else(|| {
        Error::Boot("the ESP of the loader is unknown (EFI variable LoaderDevicePartUUID)".into())
    })?;
    let mut files: Vec<String> = machine.vars.image.iter().map(|path| fold(path)).collect();
    files.extend(places().into_iter().filter(|path| is_systemd_boot(machine, path)).map(|path| fold(&path)));
    Ok(LoaderPath { partuuid, files })
}

/// Where systemd-boot is installed (bootctl(1)): its own place, and the one for removable media.
fn places() -> [String; 2] {
    let (lower, upper) = (NATIVE.efi, NATIVE.efi.to_ascii_uppercase());
    [format!("EFI/systemd/systemd-boot{lower}.efi"), format!("EFI/BOOT/BOOT{upper}.EFI")]
}

fn is_systemd_boot(machine: &Machine, path: &str) -> bool {
    let mut bytes = vec![];
    let read = machine.dirs.esp.open(path).and_then(|file| file.take(MAX_BYTES).read_to_end(&mut bytes));
    read.is_ok() && bytes.windows(MAGIC.len()).any(|window| window == MAGIC)
}

fn partition(machine: &Machine, partuuid: &str) -> Option<EFIHardDrive> {
    let extent = extent(&machine.root, partuuid)?;
    Some(EFIHardDrive {
        partition_number: extent.number,
        partition_start: extent.start,
        partition_size: extent.size,
        partition_sig: uuid::Uuid::try_parse(partuuid).ok()?,
        // A GPT, and the partition's GUID as its signature (UEFI specification, 10.3.5.1).
        format: 2,
        sig_type: EFIHardDriveType::Gpt,
    })
}

fn explain(error: &efivar::Error, options: usize) -> String {
    match error {
        efivar::Error::VarUnknownError { error, .. } if error.raw_os_error() == Some(libc::ENOSPC) => {
            format!(
                "the firmware has no room for {options} more; nothing is changed. Remove options that are not needed (efibootmgr), \
             or the kernel's old crash dumps (dump-type0-* in /sys/firmware/efi/efivars)"
            )
        }
        efivar::Error::VarUnknownError { var, error } => format!("{var}: {error}; nothing is changed"),
        other => format!("{other}; nothing is changed"),
    }
}

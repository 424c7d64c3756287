//! Enough firmware boot options for a loader that gives up on a UKI it cannot start.

use std::io::Read;

use efivar::boot::{EFIHardDrive, EFIHardDriveType};
use log::{debug, warn};

use crate::boot::firmware::{BootOptions, LoaderPath, carry_out, fold};
use abide_core::boot::esp::partitions::extent;
use abide_core::error::{Error, OrError, Result};
use abide_core::update::machine::Machine;

/// Where systemd-boot is installed (bootctl(1)): its own place, and the one for removable media.
const PLACES: [&str; 2] = if cfg!(target_arch = "x86_64") {
    ["EFI/systemd/systemd-bootx64.efi", "EFI/BOOT/BOOTX64.EFI"]
} else if cfg!(target_arch = "aarch64") {
    ["EFI/systemd/systemd-bootaa64.efi", "EFI/BOOT/BOOTAA64.EFI"]
} else if cfg!(target_arch = "riscv64") {
    ["EFI/systemd/systemd-bootriscv64.efi", "EFI/BOOT/BOOTRISCV64.EFI"]
} else if cfg!(target_arch = "arm") {
    ["EFI/systemd/systemd-bootarm.efi", "EFI/BOOT/BOOTARM.EFI"]
} else {
    ["EFI/systemd/systemd-bootia32.efi", "EFI/BOOT/BOOTIA32.EFI"]
};

/// What every systemd-boot carries in its section `.sdmagic`.
const MAGIC: &[u8] = b"#### LoaderInfo: systemd-boot ";
/// The largest file that is looked through for it; systemd-boot has a tenth of that.
const MOST_BYTES: u64 = 4 << 20;

/// How many boot options lead to the loader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Count {
    /// How many do.
    pub have: usize,
    /// One for each try, and one for the boot after them.
    pub needed: usize,
}

impl Count {
    /// Whether these are enough.
    #[must_use]
    pub fn is_enough(self) -> bool {
        self.have >= self.needed
    }
}

/// Counts the options; `None` with a loader that needs but one.
///
/// # Errors
/// [`Error::Boot`] if the firmware does not show its options, or which ESP the loader came from.
pub fn count(machine: &Machine, tries: u32) -> Result<Option<Count>> {
    let Some(needed) = needed(machine, tries) else { return Ok(None) };
    let (options, loader) = (read(machine)?, loader_path(machine)?);
    Ok(Some(Count { have: options.leading(&loader).len(), needed }))
}

/// Adds the options that are missing and returns how many there are then; `None` if none were.
/// None that is there is changed, removed or moved before another.
///
/// # Errors
/// As [`count`], and [`Error::Boot`] if the firmware takes no more: everything is as it was then.
pub fn add(machine: &Machine, tries: u32) -> Result<Option<Count>> {
    let Some(needed) = needed(machine, tries) else { return Ok(None) };
    let (options, loader) = (read(machine)?, loader_path(machine)?);
    let partition = partition(machine, &loader.partuuid);
    let cannot = |e: String| Error::Boot(format!("cannot add firmware boot options: {e}"));
    let Some(plan) = options.plan(&loader, needed, partition).map_err(cannot)? else { return Ok(None) };
    debug!("{plan:?}");
    carry_out(&mut machine.efi().clone(), &plan).map_err(|e| cannot(explain(&e, plan.create.len())))?;
    let have = read(machine)?.leading(&loader).len();
    if have < needed {
        // Some firmware says yes and forgets.
        return Err(cannot(format!("the firmware shows {have} of {needed} after they were written")));
    }
    Ok(Some(Count { have, needed }))
}

/// Tells on the log if there are too few. What cannot be counted is `doctor`'s to tell.
pub(super) fn warn_if_short(machine: &Machine, tries: u32) {
    match count(machine, tries) {
        Ok(Some(count)) if !count.is_enough() => warn!(
            "{} of {} firmware boot options lead to the boot loader: if it cannot start the new UKI, the machine \
             may stand still in the firmware; `abide doctor --fix` adds what is missing",
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
    BootOptions::read(machine.efi())
        .or_boot(|| "the firmware's boot options cannot be read")?
        .ok_or_else(|| Error::Boot("the firmware shows no boot options (EFI variable BootOrder)".into()))
}

/// How the loader is reached: as this boot did, and by every copy of it on the ESP.
fn loader_path(machine: &Machine) -> Result<LoaderPath> {
    let partuuid = machine.vars.device_partuuid.clone().ok_or_else(|| {
        Error::Boot("which ESP the loader came from is not known (EFI variable LoaderDevicePartUUID)".into())
    })?;
    let mut files: Vec<String> = machine.vars.image.iter().map(|path| fold(path)).collect();
    files.extend(PLACES.into_iter().filter(|path| is_systemd_boot(machine, path)).map(fold));
    Ok(LoaderPath { partuuid, files })
}

fn is_systemd_boot(machine: &Machine, path: &str) -> bool {
    let mut bytes = vec![];
    let read = machine.dirs.esp.open(path).and_then(|file| file.take(MOST_BYTES).read_to_end(&mut bytes));
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
                "it has no room for {options} more; everything is as it was. Remove options that nothing needs (efibootmgr), \
             or the kernel's old crash dumps (dump-type0-* in /sys/firmware/efi/efivars)"
            )
        }
        efivar::Error::VarUnknownError { var, error } => format!("{var}: {error}; everything is as it was"),
        other => format!("{other}; everything is as it was"),
    }
}

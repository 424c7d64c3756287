//! The part once the root is mounted: is it the one that was staged?

use log::{error, warn};

use abide_core::boot::Access;
use abide_core::boot::model::entry::EntryKind;
use abide_core::config::{BootConfig, OnFailure};
use abide_core::disk::Slots;
use abide_core::error::{Error, Result};
use abide_core::root::Root;
use abide_core::state::{BootKind, BootNote, Phase, Verdict};
use abide_core::update::finding::blind::is_counted;
use abide_core::update::kernel::SYSROOT;
use abide_core::update::reboot;
use abide_core::update::trial::Ended;
use abide_core::update::{Machine, kernel, trial};

use crate::early::early;
use crate::{other_trial, trial_units};

/// What systemd starts after switch-root without `init=` (`do_reexecute`, systemd 252 to 262),
/// except for the shell, which nobody can use on an unattended machine.
const INITS: [&str; 4] = ["/usr/lib/systemd/systemd", "/sbin/init", "/etc/init", "/bin/init"];

/// Checks on a trial that the mounted root is the staged one, and hands over to
/// the units of the new system.
///
/// # Errors
/// On a trial whose root is not the staged one; the machine then reboots.
pub fn root(root: &Root) -> Result<()> {
    early(root)?;
    if let Err(e) = other_trial::take_over(root, config_of_new_root) {
        warn!("{e}; the trial of another tool is not assessed");
    }
    let Some(note) = BootNote::read(root) else {
        warn!("cannot determine whether this boot is a trial; trying again after the switch to the root");
        return Ok(());
    };
    if note.kind != BootKind::Trial {
        return Ok(());
    }
    let mut machine = match Machine::read_boot(root, Access::Write) {
        Err(e) if !is_counted(root) => return stay(root, &note, &e),
        machine => machine?,
    };
    if let Err(why) = verify_root(root, &note, &machine) {
        error!("{why}");
        let verdict = Verdict { phase: Phase::Initramfs, reason: why.to_string(), checks: vec![] };
        return match trial::end(&mut machine, verdict, OnFailure::Rollback) {
            Ok(Ended::Stay(why)) => {
                error!("{why}");
                BootNote::unknown(note.boot_id, why.to_string()).write(root)
            }
            Ok(Ended::Reboot | Ended::NotOnTrial) => reboot::at_once(root),
            Err(e) if !is_counted(root) => stay(root, &note, &e),
            Err(e) => {
                error!("{e}; this try is used up");
                reboot::at_once(root)
            }
        };
    }
    if let Err(why) = find_init(root) {
        // PID 1 would freeze when it finds out, and only a watchdog would end that.
        error!("{why}; this try is used up");
        let verdict = Verdict { phase: Phase::Initramfs, reason: why.to_string(), checks: vec![] };
        trial::lose(&mut machine, verdict)?;
        return reboot::at_once(root);
    }
    trial::reach(&mut machine, Phase::SwitchRoot)?;
    trial_units::install(root, config_of_new_root(root).assess.deadline)
}

/// Lets a trial go on that cannot be ended: a reboot would lead to the same try, again and again.
fn stay(root: &Root, note: &BootNote, why: &Error) -> Result<()> {
    error!("{why}; the boot loader has not counted this try, so the boot continues");
    BootNote::unknown(note.boot_id.clone(), why.to_string()).write(root)
}

/// The configuration of the system that the initramfs has mounted.
fn config_of_new_root(root: &Root) -> BootConfig {
    BootConfig::load(&Root::at(root.path(SYSROOT))).unwrap_or_else(|e| {
        warn!("{e}; this trial uses the defaults");
        BootConfig::default()
    })
}

/// The root must be the slot's partition, carry the version that was staged, and have the units of a trial.
fn verify_root(root: &Root, note: &BootNote, machine: &Machine) -> Result<()> {
    if let (true, Some(slot)) = (root.is_live(), note.slot) {
        let slots = Slots::find(root, None).ok();
        let mounted = slots.map(|s| s.mounted_at(root, SYSROOT)).transpose()?.flatten();
        if mounted.is_some_and(|mounted| mounted != slot) {
            return Err(Error::Failed(format!("the mounted root is not slot {slot}")));
        }
    }
    // The version of a Type #1 entry, to which a rollback can lead, is often its kernel's.
    if machine.booted_entry().is_none_or(|entry| entry.kind == EntryKind::Uki) {
        verify_version(root, note)?;
    }
    verify_units(root)
}

fn verify_version(root: &Root, note: &BootNote) -> Result<()> {
    let Some(staged) = &note.version else { return Ok(()) };
    let release = kernel::read_os_release(&Root::at(root.path(SYSROOT)))
        .map_err(|e| Error::Failed(format!("the mounted root is damaged or not a system: {e}")))?;
    // A written image is known by the first; one that was there before, by the second, as the loader shows it.
    let carried = release.image_version().unwrap_or_default();
    if carried == staged || release.entry_version() == Some(staged) {
        return Ok(());
    }
    Err(Error::Failed(format!("the mounted root is version {carried:?}, but {staged} was staged")))
}

/// Units of Abide must be there: without them the trial would neither be assessed nor end. Not asked of a
/// folder, in which nothing boots.
fn verify_units(root: &Root) -> Result<()> {
    let missing = trial_units::missing_in(&Root::at(root.path(SYSROOT)));
    if !root.is_live() || missing.is_empty() {
        return Ok(());
    }
    Err(Error::Failed(format!(
        "the mounted root lacks {}: nothing would assess this trial or end it; install Abide in the image",
        missing.join(", ")
    )))
}

/// What switch-root would start must be there. Not asked of a folder, which has no kernel to start it.
fn find_init(root: &Root) -> Result<()> {
    if !root.is_live() {
        return Ok(());
    }
    let cmdline = root.kernel_cmdline();
    let named = cmdline.split_whitespace().filter_map(|word| word.strip_prefix("init=")).next_back();
    let candidates = named.map_or_else(|| INITS.to_vec(), |init| vec![init]);
    let sysroot = Root::at(root.path(SYSROOT));
    let is_there = |init: &&&str| sysroot.resolve(init).is_ok_and(|path| path.is_file());
    match candidates.iter().find(is_there) {
        Some(_) => Ok(()),
        None => {
            Err(Error::Failed(format!("the mounted root has no init (looked for {})", candidates.join(", "))))
        }
    }
}

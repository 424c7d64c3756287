//! The finding of what this boot is, made in the real root; for abide-find.service.

use std::thread::sleep;
use std::time::Duration;

use log::{info, warn};

use crate::boot::initramfs_stage;
use crate::systemd::{self, Manager};
use abide_core::config::BootConfig;
use abide_core::error::{Error, Result};
use abide_core::root::Root;
use abide_core::state::boot_note::TRIAL;
use abide_core::state::{BootKind, BootNote};
use abide_initramfs::initrd::{self, Part};
use abide_initramfs::{blind, esp, other_trial};

/// How long the ESP is waited for. Its driver may be loaded after this has begun.
const ESP_PATIENCE: Duration = Duration::from_secs(60);

/// How often it is tried to find out what this boot is.
const AGAIN: Duration = Duration::from_secs(5);

/// How often systemd feeds the watchdog at least.
const WATCHDOG: Duration = Duration::from_secs(60);

/// Assesses a committed system.
const EVERY_BOOT: &str = "abide-every-boot.service";

const MANAGER_PATIENCE: Duration = Duration::from_secs(5);

/// Does in the real root what the initramfs stage has not done: has a counted boot end by itself, finds out what the
/// boot is, and leaves the note. Does nothing where there is a note.
///
/// Where the ESP does not appear, a boot that the loader counted is treated as a trial: its deadline ends it, since
/// nothing could commit it.
///
/// # Errors
/// [`abide_core::error::Error::Failed`] if `/run/abide` cannot be written, and if a boot that must not go on cannot be
/// rebooted.
pub fn find_out(root: &Root) -> Result<()> {
    if BootNote::read(root).is_some() {
        return Ok(());
    }
    initramfs_stage::mark_late(root)?;
    blind::mark(root)?;
    if blind::may_be_trial_only(root) {
        // Its deadline runs even if the rest fails or hangs.
        BootNote::suspect(root)?;
    }
    esp::wait(root, ESP_PATIENCE);
    initrd::run(root, Part::Early)?;
    if let Err(e) = other_trial::take_over(root, |root| BootConfig::load(root).unwrap_or_default()) {
        warn!("{e}; the trial of another tool is not assessed");
    }
    let Some(note) = BootNote::read(root) else {
        if blind::may_be_trial_only(root) {
            feed_watchdog(root);
            return blind::end(root);
        }
        warn!("cannot determine whether this boot is a trial");
        return Ok(());
    };
    if matches!(note.kind, BootKind::Trial | BootKind::Unknown) || note.counted {
        // A boot that is unknown now may have been taken for a trial before.
        feed_watchdog(root);
    }
    if note.kind == BootKind::Trial {
        info!("the initramfs did not detect this trial; its assessment starts now");
    }
    if note.counted {
        // It gets its tries back after its checks; in the initramfs the stage brings that unit in.
        systemd::start(root, EVERY_BOOT);
    }
    Ok(())
}

/// Waits until it is known what this boot is, where that is only suspected: the loader counted it, and the ESP was not
/// there. The deadline ends it otherwise. Nothing may be committed before the checks have run.
///
/// # Errors
/// [`Error::Failed`] below a folder, in which nothing changes; and as [`find_out`].
pub fn wait_until_known(root: &Root) -> Result<()> {
    while root.path(TRIAL).exists() && BootNote::read(root).is_none() {
        initrd::run(root, Part::Early)?;
        if BootNote::read(root).is_some() {
            break;
        }
        if !root.is_live() {
            return Err(Error::Failed(
                "cannot determine whether this boot is a trial: there is no ESP".into(),
            ));
        }
        sleep(AGAIN);
    }
    Ok(())
}

/// A watchdog that was started must be fed; systemd read its own configuration before.
fn feed_watchdog(root: &Root) {
    if !root.is_live() || !root.path("/dev/watchdog").exists() {
        return;
    }
    if let Err(why) = Manager::new(root, MANAGER_PATIENCE).feed_watchdog(WATCHDOG) {
        warn!(
            "cannot configure systemd to ping the hardware watchdog: {why}; the watchdog may reset the machine"
        );
    }
}

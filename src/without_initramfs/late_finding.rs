//! The finding of what this boot is, made in the real root; for abide-find.service.

use std::time::Duration;

use log::{info, warn};

use crate::boot::initramfs_stage;
use crate::systemd::Manager;
use abide_core::config::BootConfig;
use abide_core::error::Result;
use abide_core::root::Root;
use abide_core::state::{BootKind, BootNote};
use abide_initramfs::initrd::{self, Part};
use abide_initramfs::{blind, esp, other_trial};

/// How long the ESP is waited for. Its driver may be loaded after this has begun.
const ESP_PATIENCE: Duration = Duration::from_secs(60);

/// How often systemd feeds the watchdog at least.
const WATCHDOG: Duration = Duration::from_secs(60);

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
    esp::wait(root, ESP_PATIENCE);
    initrd::run(root, Part::Early)?;
    if let Err(e) = other_trial::take_over(root, |root| BootConfig::load(root).unwrap_or_default()) {
        warn!("{e}; the trial of another tool is not assessed");
    }
    match BootNote::read(root).map(|note| note.kind) {
        Some(BootKind::Trial) => {
            feed_watchdog(root);
            info!("the initramfs did not detect this trial; its assessment starts now");
        }
        Some(_) => {}
        None if blind::may_be_trial_only(root) => blind::end(root)?,
        None => warn!("cannot determine whether this boot is a trial"),
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

//! The initramfs cannot continue: whether that ends a trial, and what is recorded.

use std::thread::sleep;
use std::time::{Duration, Instant};

use log::warn;

use abide_core::boot::{Access, BootDirs, EfiVars, LoaderVars};
use abide_core::error::Result;
use abide_core::root::Root;
use abide_core::state::BootNote;

use crate::early::early;
use crate::stranded;

/// How long to wait for the ESP, which may appear after the root has failed. The unit that runs this has
/// a longer limit.
const ESP_PATIENCE: Duration = Duration::from_secs(10);

/// Runs when the initramfs cannot continue. Finds out what this boot is, if the early stage has not, and
/// records why a trial ends here. The unit that runs this then reboots a trial.
///
/// # Errors
/// If the ESP cannot be written.
pub fn emergency(root: &Root) -> Result<()> {
    wait_for_esp(root);
    early(root)?;
    if BootNote::read(root).is_none() {
        // Not known yet: the early stage ends it if the ESP appears later.
        return stranded::mark(root);
    }
    if stranded::is_trial(root) { stranded::lose(root) } else { Ok(()) }
}

/// Waits for the ESP, if only the ESP shows what this boot is.
fn wait_for_esp(root: &Root) {
    if BootNote::read(root).is_some() || !root.is_live() {
        return;
    }
    let vars = LoaderVars::read_device(&EfiVars::new(root));
    let end = Instant::now() + ESP_PATIENCE;
    while let Err(e) = BootDirs::find(root, &vars, Access::Glance) {
        if Instant::now() >= end {
            warn!("{e}");
            return;
        }
        sleep(Duration::from_millis(200));
    }
}

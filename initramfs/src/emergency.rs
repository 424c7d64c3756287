//! The initramfs cannot go on: whether that ends a trial, and what is left behind.

use std::thread::sleep;
use std::time::{Duration, Instant};

use log::warn;

use abide_core::boot::{Access, BootDirs, EfiVars, LoaderVars};
use abide_core::error::Result;
use abide_core::root::Root;
use abide_core::state::BootNote;

use crate::early::early;
use crate::stranded;

/// How long an initramfs that gives up waits for the ESP, which may show up after the root has
/// failed. The unit that runs this has more.
const ESP_PATIENCE: Duration = Duration::from_secs(10);

/// The initramfs cannot go on. Finds out what this boot is, where the early stage has not come to
/// that yet, and leaves the reason why a trial ends here. The unit that runs this then reboots a trial.
///
/// # Errors
/// If the ESP cannot be written.
pub fn emergency(root: &Root) -> Result<()> {
    wait_for_esp(root);
    early(root)?;
    if BootNote::read(root).is_none() {
        // Not known yet: the early stage ends it where the ESP shows up later.
        return stranded::mark(root);
    }
    if stranded::is_trial(root) { stranded::lose(root) } else { Ok(()) }
}

/// Until the ESP is there, if what this boot is can only be told from it.
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

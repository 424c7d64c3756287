//! Waiting for the ESP.

use std::thread::sleep;
use std::time::{Duration, Instant};

use log::warn;

use abide_core::boot::{Access, BootDirs, EfiVars, LoaderVars};
use abide_core::root::Root;
use abide_core::state::BootNote;

/// Waits until the ESP is there or `patience` is over, if what this boot is can only be told from the ESP.
pub fn wait(root: &Root, patience: Duration) {
    if BootNote::read(root).is_some() || !root.is_live() {
        return;
    }
    let vars = LoaderVars::read_device(&EfiVars::new(root));
    let end = Instant::now() + patience;
    while let Err(e) = BootDirs::find(root, &vars, Access::Glance) {
        if Instant::now() >= end {
            warn!("{e}");
            return;
        }
        sleep(Duration::from_millis(200));
    }
}

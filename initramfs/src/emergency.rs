//! The initramfs cannot continue: whether that ends a trial, and what is recorded.

use std::time::Duration;

use abide_core::error::Result;
use abide_core::root::Root;
use abide_core::state::BootNote;

use crate::early::early;
use crate::{blind, esp, stranded};

/// How long to wait for the ESP, which may appear after the root has failed. The unit that runs this has
/// a longer limit.
const ESP_PATIENCE: Duration = Duration::from_secs(10);

/// Runs when the initramfs cannot continue. Finds out what this boot is, if the early stage has not, and
/// records why a trial ends here. The unit that runs this then reboots a trial.
///
/// # Errors
/// If the ESP cannot be written.
pub fn emergency(root: &Root) -> Result<()> {
    esp::wait(root, ESP_PATIENCE);
    early(root)?;
    if blind::may_be_trial_only(root) {
        return blind::end(root);
    }
    if BootNote::read(root).is_none() {
        // Not known yet: the early stage ends it if the ESP appears later.
        return stranded::mark(root);
    }
    if stranded::is_trial(root) { stranded::lose(root) } else { Ok(()) }
}

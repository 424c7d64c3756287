//! The reboots that Abide has requested for an update.

use serde::{Deserialize, Serialize};

/// Reboots that Abide has asked for: kept on the ESP, so that a machine without any other memory does not
/// reboot for ever.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reboots {
    /// How many boots have ended so.
    pub asked: u32,
    /// The kernel's id of the last boot that did.
    #[serde(default)]
    pub boot_id: String,
}

impl Reboots {
    /// Counts a reboot out of this boot, once, and returns how many there were.
    pub fn ask(&mut self, boot_id: &str) -> u32 {
        if self.is_none() || self.boot_id != boot_id {
            self.asked = self.asked.saturating_add(1);
            boot_id.clone_into(&mut self.boot_id);
        }
        self.asked
    }

    pub(super) fn is_none(&self) -> bool {
        self.asked == 0
    }
}

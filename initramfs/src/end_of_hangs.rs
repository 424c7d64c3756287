//! What makes a boot that hangs or panics end by itself.

use std::fs;

use log::{debug, warn};

use abide_core::root::Root;

use crate::{pstore, watchdog};

const PANIC: &str = "/proc/sys/kernel/panic";

/// Seconds after which a kernel that panics reboots, where its command line does not say.
const PANIC_SECONDS: &str = "10";

/// Has a kernel that panics reboot, starts the hardware watchdog, and loads what keeps a panic's last lines.
pub fn guard(root: &Root) {
    match fs::read_to_string(root.path(PANIC)) {
        Ok(now) if now.trim() == "0" => {
            if let Err(e) = fs::write(root.path(PANIC), PANIC_SECONDS) {
                warn!("{PANIC}: cannot write: {e}; a kernel panic will hang the machine");
            }
        }
        Ok(_) => {}
        Err(e) => warn!("{PANIC}: cannot read: {e}"),
    }
    if let Err(e) = watchdog::arm(root) {
        warn!("{e}");
    }
    if let Err(e) = pstore::load(root) {
        debug!("{e}; a kernel panic may leave no message");
    }
}

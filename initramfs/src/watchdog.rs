//! The hardware watchdog, armed before anything of the new system runs.

use std::fs::OpenOptions;
use std::io::Write;

use log::{info, warn};

use abide_core::error::{OrError, Result};
use abide_core::root::Root;
use abide_core::sys;

const DEVICE: &str = "/dev/watchdog";

/// Seconds until it resets the machine. It must cover the rest of the initramfs, where nothing feeds it:
/// the same time as in abide-initrd-timeout.timer. The hardware's own limit (30 s is common) would end
/// good trials of slow machines. The new system's systemd sets its own.
const LIMIT: u16 = 180;

/// Starts the watchdog and leaves it running: from now on it must be fed, which systemd does if
/// `RuntimeWatchdogSec=` is set. If there is no watchdog, nothing happens.
///
/// # Errors
/// [`abide_core::error::Error::Failed`] if there is one and it cannot be started.
pub fn arm(root: &Root) -> Result<()> {
    let path = root.path(DEVICE);
    if !path.exists() {
        return Ok(());
    }
    let mut device =
        OpenOptions::new().write(true).open(&path).or_failed(|| format!("{DEVICE}: cannot open"))?;
    // Any byte but the magic 'V' keeps it running when it is closed
    // (Linux, Documentation/watchdog/watchdog-api.rst).
    device.write_all(b"\0").or_failed(|| format!("{DEVICE}: cannot start"))?;
    match sys::set_watchdog_timeout(&device, LIMIT) {
        Ok(seconds) => info!("the hardware watchdog is started, with a timeout of {seconds} s"),
        Err(e) => {
            warn!("{DEVICE}: cannot set the timeout to {LIMIT} s: {e}; the watchdog keeps its own timeout")
        }
    }
    Ok(())
}

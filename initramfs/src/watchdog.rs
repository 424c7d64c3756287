//! The hardware watchdog, armed before anything of the new system runs.

use std::fs::OpenOptions;
use std::io::Write;

use log::{info, warn};

use abide_core::error::{OrError, Result};
use abide_core::root::Root;
use abide_core::sys;

const DEVICE: &str = "/dev/watchdog";

/// Seconds until it resets the machine. The rest of the initramfs must fit in, and nothing feeds it
/// there: as long as abide-initrd-timeout.timer gives it. The limit that the hardware comes with
/// (30 s is common) would end good trials of slow machines. The new system's systemd sets its own.
const LIMIT: u16 = 180;

/// Starts the watchdog and leaves it running: from now on somebody has to keep
/// it fed, which systemd does where `RuntimeWatchdogSec=` says so. Where there is no
/// watchdog, nothing happens.
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
        Ok(seconds) => info!("the hardware watchdog runs: {seconds} s"),
        Err(e) => warn!("{DEVICE}: cannot set it to {LIMIT} s: {e}; it runs with its own limit"),
    }
    Ok(())
}

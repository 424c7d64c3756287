//! The hardware watchdog, armed before anything of the new system runs.

use std::fs::OpenOptions;
use std::io::Write;

use log::info;

use crate::error::{OrError, Result};
use crate::root::Root;

const DEVICE: &str = "/dev/watchdog";

/// Starts the watchdog and leaves it running: from now on somebody has to keep
/// it fed, which systemd does where `RuntimeWatchdogSec=` says so. Where there is no
/// watchdog, nothing happens.
///
/// # Errors
/// [`crate::error::Error::Failed`] if there is one and it cannot be started.
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
    info!("the hardware watchdog runs");
    Ok(())
}

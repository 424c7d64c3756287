//! SIGINT and SIGTERM while the slot is written.
//!
//! Every step may be interrupted anywhere, so there is nothing to clean up: the process prints what the
//! interruption means and ends by the signal, as the caller expects.

use std::fs;
use std::thread::Builder;

use nix::sys::signal::{SigSet, Signal, raise};

use abide_core::error::{Error, OrError, Result};

const STATUS: &str = "/proc/self/status";

/// From now on the process prints `message` before one of these signals ends it, except those that it
/// inherited as ignored (`nohup`, a shell's `&`). To be called before other threads are started.
///
/// # Errors
/// [`Error::Failed`] if the thread that waits cannot be started.
pub fn watch(message: &'static str) -> Result<()> {
    let cannot = || "cannot watch for signals";
    let status = fs::read_to_string(STATUS).or_failed(cannot)?;
    let ignored = ignored(&status).ok_or_else(|| Error::Failed(format!("{STATUS}: has no SigIgn")))?;
    // In that mask bit 0 is signal 1 (proc_pid_status(5)).
    let is_ignored = |signal: Signal| ignored >> (signal as u32 - 1) & 1 == 1;
    let all = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP];
    let signals: SigSet = all.into_iter().filter(|signal| !is_ignored(*signal)).collect();
    signals.thread_block().map_err(|e| Error::Failed(format!("{}: {e}", cannot())))?;
    let wait = move || {
        if let Ok(signal) = signals.wait() {
            crate::cli::progress::clear_line();
            log::error!("{message}");
            // Unblocked, the signal has its default effect.
            if signals.thread_unblock().is_ok() && raise(signal).is_ok() {
                log::debug!("{signal} did not end the process");
            }
            std::process::exit(128 + signal as i32);
        }
    };
    Builder::new().name("signals".into()).spawn(wait).map(drop).or_failed(cannot)
}

/// The mask of ignored signals, of `/proc/PID/status`.
fn ignored(status: &str) -> Option<u64> {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"))?;
    u64::from_str_radix(mask.trim(), 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mask_of_ignored_signals_is_found_among_the_others() {
        assert_eq!(ignored("SigBlk:\t0000000000000003\nSigIgn:\t0000000000001001\n"), Some(0x1001));
        assert_eq!(ignored("SigIgn:\tx\n"), None);
        assert_eq!(ignored("Name:\tabide\n"), None);
    }
}

//! SIGINT and SIGTERM while the slot is written.
//!
//! Every step may be interrupted anywhere, so there is nothing to clean up: the process prints what the
//! interruption means and ends by the signal, as the caller expects.

use std::thread::Builder;

use nix::sys::signal::{SigSet, Signal, raise};
use procfs::process::Process;

use abide_core::error::{Error, OrError, Result};

/// From now on the process prints `message` before one of these signals ends it, except those that it
/// inherited as ignored (`nohup`, a shell's `&`). To be called before other threads are started.
///
/// # Errors
/// [`Error::Failed`] if the thread that waits cannot be started.
pub fn watch(message: &'static str) -> Result<()> {
    let cannot = || "cannot watch for signals";
    let ignored = Process::myself().and_then(|p| p.status()).or_failed(cannot)?.sigign;
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

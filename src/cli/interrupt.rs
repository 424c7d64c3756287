//! SIGINT and SIGTERM while the slot is written.
//!
//! Every step may be cut off anywhere, so there is nothing to clean up: what is left to do is to say
//! what that means, and to end by the signal, as the caller expects.

use std::thread::Builder;

use nix::sys::signal::{SigSet, Signal, raise};

use crate::error::{Error, OrError, Result};

/// From now on the process says `message` before one of these signals ends it. To be called before other
/// threads are started.
///
/// # Errors
/// [`Error::Failed`] if the thread that waits cannot be started.
pub fn watch(message: &'static str) -> Result<()> {
    let mut signals = SigSet::empty();
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        signals.add(signal);
    }
    let cannot = || "cannot watch for signals";
    signals.thread_block().map_err(|e| Error::Failed(format!("{}: {e}", cannot())))?;
    let wait = move || {
        if let Ok(signal) = signals.wait() {
            super::progress::clear_line();
            log::error!("{message}");
            // Unblocked here it does what it does to any process; blocked ones are no reason to live on.
            if signals.thread_unblock().is_err() || raise(signal).is_err() {
                std::process::exit(1);
            }
        }
    };
    Builder::new().name("signals".into()).spawn(wait).map(drop).or_failed(cannot)
}

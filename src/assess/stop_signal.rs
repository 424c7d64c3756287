//! SIGTERM and SIGINT: systemd or a person asks the assessment to stop.

use std::thread;

use nix::sys::signal::{SigSet, Signal};

use abide_core::error::{OrError, Result};

/// Calls `stop` at the first SIGTERM or SIGINT. Must be called before other threads are started: they
/// inherit the blocked signals, so that only the thread of this function takes them. Child processes do
/// not inherit them.
///
/// # Errors
/// [`abide_core::error::Error::Failed`] if no thread can be started.
pub(super) fn on_stop_signal(stop: impl FnOnce() + Send + 'static) -> Result<()> {
    let signals = SigSet::from_iter([Signal::SIGTERM, Signal::SIGINT]);
    signals.thread_block().or_failed(|| "cannot block signals")?;
    thread::Builder::new()
        .stack_size(64 << 10)
        .spawn(move || match signals.wait() {
            Ok(_) => stop(),
            Err(e) => log::warn!("cannot wait for signals: {e}"),
        })
        .or_failed(|| "cannot start a thread")?;
    Ok(())
}

//! Being asked to stop, by systemd on its way down or by someone at a terminal.

use std::thread;

use nix::sys::signal::{SigSet, Signal};

use abide_core::error::{OrError, Result};

/// Calls `stop` at the first SIGTERM or SIGINT. To be called before other threads are started: they
/// inherit that these signals wait for the one thread that takes them. Programs that are run do not.
///
/// # Errors
/// [`abide_core::error::Error::Failed`] if no thread can be started.
pub fn on_request(stop: impl FnOnce() + Send + 'static) -> Result<()> {
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

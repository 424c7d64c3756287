//! Work that must not delay its caller for long.

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use log::warn;

/// Runs `work` in its own thread, and waits at most `limit` for it.
pub fn run_bounded(limit: Duration, what: &str, work: impl FnOnce() + Send + 'static) {
    let (sender, receiver) = mpsc::channel();
    let spawned = thread::Builder::new().spawn(move || {
        work();
        // The receiver is gone after a timeout.
        sender.send(()).ok();
    });
    match spawned {
        Ok(_) if receiver.recv_timeout(limit).is_err() => {
            warn!("{what} takes too long; continuing without it")
        }
        Ok(_) => {}
        Err(e) => warn!("{what}: cannot start a thread: {e}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    #[test]
    fn the_caller_does_not_wait_for_work_that_hangs() {
        let started = Instant::now();
        run_bounded(Duration::from_millis(50), "sleeping", || thread::sleep(Duration::from_secs(60)));
        assert!(started.elapsed() < Duration::from_secs(30));
    }
}

//! The time since the start of the kernel, on a monotonic clock.

use std::time::{Duration, Instant};

use nix::time::{ClockId, clock_gettime};

use crate::uptime;
use abide_core::root::Root;

/// A monotonic clock whose zero is the start of the kernel, as for systemd's `OnBootSec=`.
#[derive(Debug, Clone, Copy)]
pub struct MonotonicClock {
    started: Instant,
    offset: Duration,
}

impl MonotonicClock {
    /// The clock of `root`: below a folder, `/proc/uptime` there says when it is.
    #[must_use]
    pub fn new(root: &Root) -> Self {
        let offset = if root.is_live() {
            clock_gettime(ClockId::CLOCK_MONOTONIC).map(Duration::from).ok()
        } else {
            uptime::read(root)
        };
        Self { started: Instant::now(), offset: offset.unwrap_or_default() }
    }

    /// Since the start of the kernel.
    #[must_use]
    pub fn now(&self) -> Duration {
        self.offset + self.started.elapsed()
    }
}

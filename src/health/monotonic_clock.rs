//! The time since the start of the kernel, on a clock that cannot be set.

use std::fs;
use std::time::{Duration, Instant};

use nix::time::{ClockId, clock_gettime};

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
        let offset = match root.is_live() {
            true => clock_gettime(ClockId::CLOCK_MONOTONIC).map(Duration::from).ok(),
            false => fs::read_to_string(root.path("/proc/uptime")).ok().and_then(|text| parse_uptime(&text)),
        };
        Self { started: Instant::now(), offset: offset.unwrap_or_default() }
    }

    /// Since the start of the kernel.
    #[must_use]
    pub fn now(&self) -> Duration {
        self.offset + self.started.elapsed()
    }
}

fn parse_uptime(text: &str) -> Option<Duration> {
    Duration::try_from_secs_f64(text.split_whitespace().next()?.parse().ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_uptime_of_a_tree_is_read_from_it() {
        assert_eq!(parse_uptime("12.50 40.00\n"), Some(Duration::from_millis(12_500)));
        assert_eq!(parse_uptime("-1"), None);
        assert_eq!(parse_uptime(""), None);
    }
}

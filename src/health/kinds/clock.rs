//! `kind = "clock"`: the clock is synchronised.

use std::time::Duration;

use crate::config::kinds::ClockCheck;
use crate::health::probe::{Probe, ProbeResult};
use abide_core::config::duration::format;
use abide_core::root::Root;
use abide_core::sys;

/// systemd-timesyncd makes this file when it has set the clock.
const TIMESYNC: &str = "/run/systemd/timesync/synchronized";

/// The check.
#[derive(Debug)]
pub struct ClockProbe {
    config: ClockCheck,
    root: Root,
}

impl ClockProbe {
    /// A check of the clock of `root`: below a folder, only the file of systemd-timesyncd counts.
    #[must_use]
    pub fn new(config: &ClockCheck, root: &Root) -> Self {
        Self { config: config.clone(), root: root.clone() }
    }
}

impl Probe for ClockProbe {
    fn run(&mut self, _limit: Duration) -> ProbeResult {
        let by_timesyncd = self.root.path(TIMESYNC).exists();
        let state =
            if self.root.is_live() { sys::clock_error() } else { Ok(by_timesyncd.then_some(Duration::ZERO)) };
        match (state, self.config.max_error) {
            (Err(e), _) => ProbeResult::NotYet(format!("cannot read the state of the kernel's clock: {e}")),
            (Ok(None), None) if by_timesyncd => ProbeResult::Pass,
            (Ok(None), _) => ProbeResult::NotYet("the clock is not synchronised".into()),
            (Ok(Some(error)), Some(most)) if error > most => ProbeResult::NotYet(format!(
                "the clock may be wrong by {}, {} are allowed",
                format(error),
                format(most)
            )),
            (Ok(Some(_)), _) => ProbeResult::Pass,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_clock_that_timesyncd_has_set_is_synchronised() {
        let dir = tempfile::tempdir().unwrap();
        let mut probe = ClockProbe::new(&ClockCheck { max_error: None }, &Root::at(dir.path()));
        let limit = Duration::from_secs(1);
        assert_eq!(probe.run(limit), ProbeResult::NotYet("the clock is not synchronised".into()));
        std::fs::create_dir_all(dir.path().join("run/systemd/timesync")).unwrap();
        std::fs::write(dir.path().join("run/systemd/timesync/synchronized"), "").unwrap();
        assert_eq!(probe.run(limit), ProbeResult::Pass);
    }

    #[test]
    fn the_kernel_of_this_machine_tells_about_its_clock() {
        assert!(sys::clock_error().is_ok());
    }
}

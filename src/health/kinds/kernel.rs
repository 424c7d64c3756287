//! `kind = "kernel"`: the kernel has not crashed, and nothing in it has locked up.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::time::Duration;

use crate::config::kinds::{KernelCheck, Taint};
use crate::health::pattern;
use crate::health::probe::{Probe, ProbeResult};
use abide_core::root::Root;

const TAINTED: &str = "/proc/sys/kernel/tainted";
const LOG: &str = "/dev/kmsg";
/// The kernel's longest record (`PRINTK_MESSAGE_MAX`) and more.
const RECORD: usize = 8192;

/// The starts of kernel messages about faults that the kernel has survived.
const COMPLAINTS: [&str; 9] = [
    "BUG: *",
    "Oops*",
    "kernel BUG at *",
    "Internal error: *",
    "watchdog: BUG: *",
    "watchdog: Watchdog detected hard LOCKUP*",
    "INFO: task * blocked for more than *",
    "rcu: INFO: * detected *stall*",
    "Unable to handle kernel *",
];

/// The check.
#[derive(Debug)]
pub struct KernelProbe {
    config: KernelCheck,
    root: Root,
}

impl KernelProbe {
    /// A check of the kernel of `root`.
    #[must_use]
    pub fn new(config: &KernelCheck, root: &Root) -> Self {
        Self { config: config.clone(), root: root.clone() }
    }

    /// The first bad message of this boot that is still in the kernel's log.
    fn complaint(&self) -> std::io::Result<Option<String>> {
        // Each read gives one record; without this the last one would wait for the next.
        let mut log =
            OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(self.root.path(LOG))?;
        let mut record = vec![0; RECORD];
        while let Some(count) = next_record(&mut log, &mut record)? {
            let text = String::from_utf8_lossy(record.get(..count).unwrap_or_default()).into_owned();
            if let Some(complaint) = text.lines().find_map(complaint) {
                return Ok(Some(complaint));
            }
        }
        Ok(None)
    }
}

impl Probe for KernelProbe {
    // Checks once. A kernel does not recover from these faults, so the check fails permanently.
    fn run(&mut self, _limit: Duration) -> ProbeResult {
        let tainted = match fs::read_to_string(self.root.path(TAINTED)) {
            Ok(text) => text.trim().parse().unwrap_or(0),
            Err(e) => return ProbeResult::NotYet(format!("{TAINTED}: {e}")),
        };
        if let Some(taint) = self.config.taints.iter().find(|taint| tainted & bit(**taint) != 0) {
            return ProbeResult::Failed(format!("the kernel is tainted: {}", meaning(*taint)));
        }
        if !self.config.log {
            return ProbeResult::Pass;
        }
        match self.complaint() {
            Ok(None) => ProbeResult::Pass,
            Ok(Some(complaint)) => ProbeResult::Failed(format!("the kernel logged: {complaint}")),
            Err(e) => ProbeResult::NotYet(format!("{LOG}: {e}")),
        }
    }
}

fn next_record(log: &mut File, record: &mut [u8]) -> std::io::Result<Option<usize>> {
    loop {
        match log.read(record) {
            Ok(0) => return Ok(None),
            Ok(count) => return Ok(Some(count)),
            Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(None),
            // Overwritten while we were reading: the next read gives the oldest that is left.
            Err(e) if e.kind() == ErrorKind::BrokenPipe || e.kind() == ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
}

/// `PRIORITY,SEQUENCE,TIME,FLAGS;MESSAGE` (Linux, Documentation/ABI/testing/dev-kmsg). Only the
/// kernel's own messages count: anyone may write to the log, with a facility above 0.
fn complaint(line: &str) -> Option<String> {
    let (prefix, message) = line.split_once(';')?;
    let priority: u32 = prefix.split(',').next()?.parse().ok()?;
    let is_kernels = priority >> 3 == 0;
    (is_kernels && COMPLAINTS.iter().any(|p| pattern::matches(p, message))).then(|| message.to_owned())
}

/// The bits of `/proc/sys/kernel/tainted`.
fn bit(taint: Taint) -> u64 {
    1 << match taint {
        Taint::MachineCheck => 4,
        Taint::BadPage => 5,
        Taint::Die => 7,
        Taint::Warn => 9,
        Taint::OutOfTree => 12,
        Taint::Unsigned => 13,
        Taint::Lockup => 14,
    }
}

fn meaning(taint: Taint) -> &'static str {
    match taint {
        Taint::MachineCheck => "the processor reported an error (machine check)",
        Taint::BadPage => "a bad memory page was found",
        Taint::Die => "it has crashed (oops)",
        Taint::Warn => "it has issued a warning",
        Taint::OutOfTree => "an out-of-tree module was loaded",
        Taint::Unsigned => "an unsigned module was loaded",
        Taint::Lockup => "a CPU lockup occurred",
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn run(tainted: u64, log: &str) -> ProbeResult {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("proc/sys/kernel")).unwrap();
        fs::write(dir.path().join("proc/sys/kernel/tainted"), format!("{tainted}\n")).unwrap();
        fs::create_dir(dir.path().join("dev")).unwrap();
        fs::write(dir.path().join("dev/kmsg"), log).unwrap();
        let config = KernelCheck { taints: vec![Taint::Die, Taint::Lockup], log: true };
        KernelProbe::new(&config, &Root::at(dir.path())).run(Duration::from_secs(1))
    }

    const QUIET: &str = "6,339,5140900,-;NET: Registered PF_INET6 protocol family\n SUBSYSTEM=net\n";

    #[test]
    fn a_quiet_kernel_passes() {
        assert_eq!(run(0, QUIET), ProbeResult::Pass);
    }

    #[test]
    fn a_crash_is_a_failure_for_good() {
        assert_eq!(
            run(128, QUIET),
            ProbeResult::Failed("the kernel is tainted: it has crashed (oops)".into())
        );
    }

    #[test]
    fn a_taint_that_nobody_minds_passes() {
        assert_eq!(run(4096, QUIET), ProbeResult::Pass);
    }

    #[test]
    fn a_complaint_in_the_log_is_quoted() {
        let log = format!("{QUIET}4,340,61,-;INFO: task kworker/0:1:12 blocked for more than 120 seconds.\n");
        assert_eq!(
            run(0, &log),
            ProbeResult::Failed(
                "the kernel logged: INFO: task kworker/0:1:12 blocked for more than 120 seconds.".into()
            )
        );
    }

    #[test]
    fn what_others_write_to_the_log_does_not_count() {
        assert_eq!(run(0, "12,341,61,-;BUG: not the kernel's\n"), ProbeResult::Pass);
    }
}

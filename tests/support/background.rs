//! A process beside a test, with all that it starts.

use std::fs;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::process::program;

/// How long the processes may take to end once they are killed.
const END: Duration = Duration::from_secs(60);

/// Ended when dropped, with the processes that it has started. None of them runs any longer then: what they had open is
/// closed, and what they had locked is free.
pub struct Background(Child);

impl Background {
    /// Starts a command in a process group of its own.
    pub fn start(mut command: Command) -> Self {
        Self(command.process_group(0).spawn().unwrap())
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        let group = self.0.id();
        let started = Instant::now();
        loop {
            // Again where one is left: it may have been started while the others were killed.
            program("kill").args(["-9", "--", &format!("-{group}")]).output().unwrap();
            self.0.try_wait().unwrap();
            let left = running(group);
            if left.is_empty() {
                break;
            }
            assert!(started.elapsed() < END, "the processes {left:?} do not end");
            sleep(Duration::from_millis(5));
        }
        self.0.wait().unwrap();
    }
}

/// The processes of a group that still run. A process that has ended, and that nobody has waited for, has closed its files
/// (proc_pid_stat(5): state `Z` or `X`).
fn running(group: u32) -> Vec<u32> {
    let entries = fs::read_dir("/proc").unwrap().map_while(Result::ok);
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|pid| {
        // It may end meanwhile.
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        // The name before the last bracket may have blanks.
        let words: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        matches!(words.as_slice(), [state, _, its, ..] if *its == group.to_string() && !matches!(*state, "Z" | "X"))
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use std::process::Stdio;

    use super::*;

    #[test]
    fn what_a_background_process_has_started_has_ended_with_it() {
        let dir = tempfile::tempdir().unwrap();
        let lock = dir.path().join("lock");
        let is_free = || program("flock").arg("-n").arg(&lock).arg("true").status().unwrap().success();
        for _ in 0..20 {
            // The lock is also held by what flock starts, and by what that starts.
            let mut command = program("flock");
            command.arg(&lock).args(["sh", "-c", "sleep 300 & sleep 300 & wait"]).stdin(Stdio::null());
            let background = Background::start(command);
            let group = background.0.id();
            while running(group).len() < 4 {
                std::thread::yield_now();
            }
            assert!(!is_free());
            drop(background);
            assert!(is_free() && running(group).is_empty());
        }
    }
}

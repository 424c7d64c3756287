//! `kind = "process"`: a process runs, and stays within its memory.

use std::path::Path;
use std::time::Duration;

use procfs::page_size;
use procfs::process::{Process, all_processes_with_root};

use crate::config::kinds::{FindBy, ProcessCheck};
use crate::files::read_named;
use crate::health::probe::{Probe, ProbeResult};
use abide_core::root::Root;

/// The largest file with a process ID.
const MAX_PIDFILE: u64 = 1 << 10;

/// The check.
#[derive(Debug)]
pub struct ProcessProbe {
    config: ProcessCheck,
    root: Root,
}

impl ProcessProbe {
    /// A check of the processes of `root`.
    #[must_use]
    pub fn new(config: &ProcessCheck, root: &Root) -> Self {
        Self { config: config.clone(), root: root.clone() }
    }

    fn look(&self) -> Result<(), String> {
        let (name, found) = match &self.config.find_by {
            FindBy::Program(name) => (name.clone(), self.of_program(name)?),
            FindBy::Pidfile(file) => (format!("the process of {file}"), vec![self.of_pidfile(file)?]),
        };
        if found.is_empty() {
            return Err(format!("{name} is not running"));
        }
        let Some(most) = self.config.memory_max else { return Ok(()) };
        // In pages; none for the kernel's own threads.
        let pages: u64 = found.iter().filter_map(|p| Some(p.statm().ok()?.resident)).sum();
        let used = pages.saturating_mul(page_size());
        if used > most {
            return Err(format!("{name} uses {} MiB of memory, {} MiB are allowed", used >> 20, most >> 20));
        }
        Ok(())
    }

    fn of_program(&self, name: &str) -> Result<Vec<Process>, String> {
        let all = all_processes_with_root(self.root.path("/proc")).map_err(|e| format!("/proc: {e}"))?;
        // Processes start and end while they are examined.
        Ok(all.flatten().filter(|process| is_program(process, name)).collect())
    }

    fn of_pidfile(&self, file: &str) -> Result<Process, String> {
        let bytes = read_named(&self.root.path(file), MAX_PIDFILE).map_err(|e| format!("{file}: {e}"))?;
        let text = String::from_utf8_lossy(&bytes);
        let pid: i32 = text.trim().parse().map_err(|_| format!("{file}: contains no process ID"))?;
        let process = Process::new_with_root(self.root.path(format!("/proc/{pid}")));
        match process {
            Ok(process) if is_alive(&process) => Ok(process),
            _ => Err(format!("the process {pid} of {file} is not running")),
        }
    }
}

impl Probe for ProcessProbe {
    fn run(&mut self, _limit: Duration) -> ProbeResult {
        match self.look() {
            Ok(()) => ProbeResult::Pass,
            Err(reason) => ProbeResult::NotYet(reason),
        }
    }
}

/// The kernel cuts names off after 15 characters; the command line has the whole, but can be
/// overwritten by the program.
fn is_program(process: &Process, name: &str) -> bool {
    let Ok(stat) = process.stat() else { return false };
    let by_command = || {
        process.cmdline().ok().and_then(|words| {
            let program = Path::new(words.first()?).file_name()?.to_str()?.to_owned();
            Some(program == name)
        })
    };
    (stat.comm == name || by_command() == Some(true)) && is_alive(process)
}

fn is_alive(process: &Process) -> bool {
    process.stat().is_ok_and(|stat| stat.state != 'Z' && stat.state != 'X')
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::fs;

    use super::*;

    fn run(find_by: FindBy, memory_max: Option<u64>) -> ProbeResult {
        ProcessProbe::new(&ProcessCheck { find_by, memory_max }, &Root::live()).run(Duration::from_secs(1))
    }

    /// The name that the kernel knows this test by.
    fn own_name() -> String {
        Process::myself().unwrap().stat().unwrap().comm
    }

    #[test]
    fn a_process_that_runs_is_found_by_name_and_by_pidfile() {
        assert_eq!(run(FindBy::Program(own_name()), None), ProbeResult::Pass);
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("pid");
        fs::write(&file, format!("{}\n", std::process::id())).unwrap();
        assert_eq!(run(FindBy::Pidfile(file.display().to_string()), None), ProbeResult::Pass);
        // The file may belong to the service that is checked.
        fs::remove_file(&file).unwrap();
        nix::unistd::mkfifo(&file, nix::sys::stat::Mode::from_bits_truncate(0o600)).unwrap();
        let reason = format!("{}: is not a regular file", file.display());
        assert_eq!(run(FindBy::Pidfile(file.display().to_string()), None), ProbeResult::NotYet(reason));
    }

    #[test]
    fn a_process_that_does_not_run_is_told() {
        assert_eq!(
            run(FindBy::Program("no-such-program".into()), None),
            ProbeResult::NotYet("no-such-program is not running".into())
        );
    }

    #[test]
    fn a_process_that_uses_too_much_memory_is_told() {
        let ProbeResult::NotYet(reason) = run(FindBy::Program(own_name()), Some(4096)) else { return };
        assert!(reason.ends_with("0 MiB are allowed"), "{reason}");
    }
}

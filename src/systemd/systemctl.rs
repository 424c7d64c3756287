//! Asks systemd through `systemctl`, and starts units.

use std::process::Command;
use std::time::Duration;

use log::warn;

use crate::systemd::child;
use crate::systemd::child::Capture;
use crate::systemd::unit::{Job, Properties};
use abide_core::root::Root;

/// Ten thousand units with their states are less than this.
const MAX_OUTPUT: usize = 1 << 20;

/// The program; `limit` holds for each question.
#[derive(Debug, Clone)]
pub struct Systemctl {
    root: Root,
    limit: Duration,
}

impl Systemctl {
    /// Asks the systemd of `root`: below a folder, that is the program there.
    #[must_use]
    pub fn new(root: &Root, limit: Duration) -> Self {
        Self { root: root.clone(), limit }
    }

    /// As [`crate::systemd::Manager::show`].
    pub fn show(&self, units: &[&str], names: &[&str]) -> Result<Vec<Properties>, String> {
        let names = names.join(",");
        let mut arguments = vec!["show", "--no-pager", "--property", &names, "--"];
        arguments.extend(units);
        let blocks = parse_show(&self.ask(&arguments)?);
        if blocks.len() == units.len() {
            Ok(blocks)
        } else {
            Err(format!("systemctl show: printed {} units instead of {}", blocks.len(), units.len()))
        }
    }

    /// As [`crate::systemd::Manager::failed_units`].
    pub fn failed_units(&self) -> Result<Vec<String>, String> {
        let answer = self.ask(&[
            "list-units",
            "--state=failed",
            "--all",
            "--plain",
            "--no-legend",
            "--full",
            "--no-pager",
        ])?;
        Ok(first_words(&answer))
    }

    /// As [`crate::systemd::Manager::jobs`].
    pub fn jobs(&self) -> Result<Vec<Job>, String> {
        Ok(parse_jobs(&self.ask(&["list-jobs", "--plain", "--no-legend", "--full", "--no-pager"])?))
    }

    /// Has systemd read all unit files again, and restarts a unit without waiting for it.
    ///
    /// # Errors
    /// If systemd does not do it, or not in time.
    pub fn reload_and_restart(&self, unit: &str) -> Result<(), String> {
        self.ask(&["daemon-reload"])?;
        self.ask(&["--no-block", "restart", unit]).map(drop)
    }

    fn ask(&self, arguments: &[&str]) -> Result<String, String> {
        let program = self.root.resolve("/usr/bin/systemctl").map_err(|e| e.to_string())?;
        let mut command = Command::new(&program);
        command.args(arguments).env("LC_ALL", "C").env_remove("SYSTEMD_COLORS");
        let ended = child::run(command, self.limit, Capture::Stdout, MAX_OUTPUT)
            .map_err(|e| format!("cannot run {}: {e}", program.display()))?;
        match ended.status {
            None => Err(format!("systemd did not answer for {}s", self.limit.as_secs_f32())),
            Some(status) if status.success() => Ok(ended.output),
            Some(status) => Err(format!("systemctl {}: {status}", arguments.first().unwrap_or(&""))),
        }
    }
}

/// Starts a unit without waiting for it. A failure is logged only: the unit starts at the next boot, too.
pub fn start(root: &Root, unit: &str) {
    if !root.is_live() {
        return;
    }
    let started = Command::new("systemctl").args(["start", "--no-block", unit]).status();
    match started {
        Ok(status) if status.success() => {}
        Ok(status) => warn!("systemctl start {unit}: {status}; it runs at the next boot"),
        Err(e) => warn!("systemctl start {unit}: {e}; it runs at the next boot"),
    }
}

/// Reads `systemctl show`: blocks of `NAME=VALUE` lines, separated by empty lines.
fn parse_show(text: &str) -> Vec<Properties> {
    text.split("\n\n")
        .map(|block| {
            block
                .lines()
                .filter_map(|line| line.split_once('='))
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect::<Properties>()
        })
        .filter(|block| !block.is_empty())
        .collect()
}

fn first_words(text: &str) -> Vec<String> {
    text.lines().filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect()
}

/// Reads `systemctl list-jobs`: `ID UNIT TYPE STATE`.
fn parse_jobs(text: &str) -> Vec<Job> {
    text.lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace().skip(1);
            Some(Job {
                unit: words.next()?.to_owned(),
                kind: words.next()?.to_owned(),
                is_running: words.next()? == "running",
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::indexing_slicing)]
    use super::*;

    #[test]
    fn properties_are_read_unit_by_unit() {
        let units = parse_show("Id=a.service\nResult=success\n\nId=b.service\nResult=a=b\n");
        assert_eq!(units.len(), 2);
        assert_eq!(units[1]["Result"], "a=b");
    }

    #[test]
    fn jobs_are_read_with_what_waits_and_what_runs() {
        let jobs = parse_jobs("  12 multi-user.target start waiting\n131 hang.service     start running\n");
        assert_eq!(jobs.len(), 2);
        assert!(!jobs[0].is_running);
        assert_eq!(jobs[1], Job { unit: "hang.service".into(), kind: "start".into(), is_running: true });
    }

    #[test]
    fn no_jobs_is_an_empty_list() {
        assert_eq!(parse_jobs(""), []);
    }
}

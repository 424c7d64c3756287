//! `kind = "command"`: a program exits with status 0.

use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, ExitStatus};
use std::time::Duration;

use crate::config::kinds::CommandCheck;
use crate::health::probe::{Probe, ProbeResult};
use crate::systemd::child;
use crate::systemd::child::Capture;
use abide_core::config::duration::format;
use abide_core::root::Root;

/// How much of the end of the output is kept for the reason.
const OUTPUT: usize = 400;

/// The check.
#[derive(Debug)]
pub struct CommandProbe {
    name: String,
    command: Vec<String>,
    root: Root,
    output: String,
}

impl CommandProbe {
    /// `name` is given to the program as `$ABIDE_CHECK`.
    #[must_use]
    pub fn new(name: &str, config: &CommandCheck, root: &Root) -> Self {
        Self { name: name.into(), command: config.command.clone(), root: root.clone(), output: String::new() }
    }
}

impl Probe for CommandProbe {
    // Runs the program once. A program that hangs has failed permanently: the next run would take as long
    // again.
    fn run(&mut self, limit: Duration) -> ProbeResult {
        self.output.clear();
        let Some((program, arguments)) = self.command.split_first() else {
            return ProbeResult::Failed("no command".into());
        };
        let path = if Path::new(program).is_absolute() {
            self.root.resolve(program).unwrap_or_else(|_| self.root.path(program))
        } else {
            program.into()
        };
        let mut command = Command::new(path);
        command.args(arguments).env("ABIDE_CHECK", &self.name).current_dir(self.root.path("/"));
        match child::run(command, limit, Capture::All, OUTPUT) {
            Err(e) => ProbeResult::Failed(format!("cannot run {program}: {e}")),
            Ok(ended) => {
                let result = evaluate(program, limit, ended.status, &ended.output);
                self.output = ended.output.trim_end().to_owned();
                result
            }
        }
    }

    fn output(&self) -> &str {
        &self.output
    }
}

fn evaluate(program: &str, limit: Duration, status: Option<ExitStatus>, output: &str) -> ProbeResult {
    let said = match last_line(output) {
        "" => String::new(),
        line => format!(": {line}"),
    };
    match status {
        None => ProbeResult::Failed(format!("{program} did not end within {}{said}", format(limit))),
        Some(status) if status.success() => ProbeResult::Pass,
        Some(status) => ProbeResult::NotYet(match (status.code(), status.signal()) {
            (Some(code), _) => format!("{program} exited with status {code}{said}"),
            (None, Some(signal)) => format!("{program} was killed by signal {signal}{said}"),
            (None, None) => format!("{program}: {status}{said}"),
        }),
    }
}

fn last_line(output: &str) -> &str {
    output.lines().rev().map(str::trim).find(|line| !line.is_empty()).unwrap_or("")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(command: &[&str], limit: Duration) -> ProbeResult {
        let config = CommandCheck { command: command.iter().map(|&w| w.into()).collect() };
        CommandProbe::new("c", &config, &Root::live()).run(limit)
    }

    const LONG: Duration = Duration::from_secs(20);

    #[test]
    fn status_0_passes() {
        assert_eq!(run(&["/bin/sh", "-c", "test \"$ABIDE_CHECK\" = c"], LONG), ProbeResult::Pass);
    }

    #[test]
    fn another_status_is_told_with_the_last_line_of_output() {
        assert_eq!(
            run(&["/bin/sh", "-c", "echo first; echo no uplink >&2; echo; exit 4"], LONG),
            ProbeResult::NotYet("/bin/sh exited with status 4: no uplink".into())
        );
    }

    #[test]
    fn a_signal_is_told() {
        assert_eq!(
            run(&["/bin/sh", "-c", "kill -9 $$"], LONG),
            ProbeResult::NotYet("/bin/sh was killed by signal 9".into())
        );
    }

    #[test]
    fn a_command_that_hangs_has_failed_for_good_at_its_timeout() {
        assert_eq!(
            run(&["/bin/sh", "-c", "echo waiting; sleep 600"], Duration::from_millis(200)),
            ProbeResult::Failed("/bin/sh did not end within 200ms: waiting".into())
        );
    }

    #[test]
    fn a_program_that_is_not_there_has_failed_for_good() {
        assert!(matches!(run(&["/no/such"], LONG), ProbeResult::Failed(_)));
    }
}

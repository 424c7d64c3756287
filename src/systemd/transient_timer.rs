//! A timer that is made for one moment, by systemd-run(1).

use std::process::Command;

use log::{info, warn};

/// A timer unit that exists from now until it has elapsed.
#[derive(Debug, Clone, Copy)]
pub struct TransientTimer<'a> {
    /// The name of its unit, without `.timer`.
    pub name: &'a str,
    /// The description of its unit.
    pub description: &'a str,
    /// When it elapses (systemd.time(7), calendar events).
    pub calendar: &'a str,
    /// The unit that it starts.
    pub starts: &'a str,
}

impl TransientTimer<'_> {
    /// Starts the timer in place of one of the same name. A failure is logged only.
    pub fn start(&self) {
        // There may be none.
        run("systemctl", &["--quiet", "stop", &format!("{}.timer", self.name)], false);
        let arguments = [
            "--quiet",
            "--collect",
            &format!("--unit={}", self.name),
            &format!("--description={}", self.description),
            &format!("--on-calendar={}", self.calendar),
            "--timer-property=AccuracySec=1s",
            "systemctl",
            "--no-block",
            "start",
            self.starts,
        ];
        run("systemd-run", &arguments, true);
    }
}

fn run(program: &str, arguments: &[&str], must_succeed: bool) {
    match Command::new(program).args(arguments).output() {
        Ok(output) if output.status.success() || !must_succeed => {}
        Ok(output) => warn!("{program}: {}", String::from_utf8_lossy(&output.stderr).trim()),
        Err(e) if must_succeed => warn!("{program}: {e}"),
        Err(e) => info!("{program}: {e}"),
    }
}

//! Programs, and what they did.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::Command;

/// What the programs that tests start see of the caller's environment.
const KEPT: [&str; 2] = ["PATH", "TMPDIR"];

/// A program that sees nothing else of the caller's environment: no proxy, locale, time zone or home.
pub fn program(name: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(name);
    command.env_clear();
    command.envs(KEPT.iter().filter_map(|name| Some((name, std::env::var_os(name)?))));
    command
}

/// A program that downloads: it keeps the caller's environment, for proxies, home and caches.
pub fn downloader(name: impl AsRef<OsStr>) -> Command {
    Command::new(name)
}

/// `abide`, as cargo builds it for the tests.
pub fn abide() -> Command {
    program(executable())
}

/// Where `abide` is: a test is in `deps`, beside it.
pub fn executable() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let path = test.parent().and_then(|deps| deps.parent()).unwrap().join("abide");
    assert!(path.exists(), "no {}: `cargo build` makes it", path.display());
    path
}

/// What a command did.
#[derive(Debug)]
pub struct Run {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Run {
    /// Runs a command to its end.
    pub fn of(command: &mut Command) -> Self {
        let output = command.output().unwrap();
        Self {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// The command must have succeeded.
    #[track_caller]
    pub fn ok(self) -> Self {
        assert_eq!(self.code, 0, "stdout: {}\nstderr: {}", self.stdout, self.stderr);
        self
    }

    /// The command must have failed with this exit code.
    #[track_caller]
    pub fn fails(self, code: i32) -> Self {
        assert_eq!(self.code, code, "stdout: {}\nstderr: {}", self.stdout, self.stderr);
        self
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|e| panic!("{e}: {}", self.stdout))
    }
}

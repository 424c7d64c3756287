//! Servers that others wrote: each is fetched by a script, runs as a process of its own, and ends with its standard input.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use ureq::Agent;

use crate::process::downloader;

/// Has `script` fetch a server into `dir`; returns what it prints.
///
/// # Errors
/// Why the server is not available here.
pub fn fetch(script: &Path, dir: &Path) -> Result<String, String> {
    let fetch = downloader(script).arg(dir).output().unwrap();
    if !fetch.status.success() {
        let why = String::from_utf8_lossy(&fetch.stderr).trim().to_owned();
        assert_eq!(fetch.status.code(), Some(77), "{why}");
        return Err(why);
    }
    Ok(String::from_utf8(fetch.stdout).unwrap().trim().to_owned())
}

/// A server that runs, for as long as this process does.
pub struct ChildServer {
    pub url: String,
    /// A client of it that takes no proxy and returns every status.
    pub agent: Agent,
    /// Its end is the server's.
    _child: Child,
}

impl ChildServer {
    /// Starts a server by `command`, which takes the port as its last argument, and waits until `answer` has an answer of it,
    /// for as long as `limit`.
    pub fn start<T>(
        mut command: Command,
        limit: Duration,
        mut answer: impl FnMut(&Agent, &str) -> Option<T>,
    ) -> (Self, T) {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let name = format!("{command:?}");
        command.arg(port.to_string()).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let config = Agent::config_builder().http_status_as_error(false).proxy(None);
        let agent = config.timeout_global(Some(Duration::from_secs(60))).build().new_agent();
        let url = format!("http://127.0.0.1:{port}");
        let started = Instant::now();
        loop {
            if let Some(answer) = answer(&agent, &url) {
                return (Self { url, agent, _child: child }, answer);
            }
            assert_eq!(child.try_wait().unwrap(), None, "{name} does not start");
            assert!(started.elapsed() < limit, "{name} does not answer");
            sleep(Duration::from_millis(300));
        }
    }
}

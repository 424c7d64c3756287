//! The agent in the guest: a shell behind a virtio-serial port.
//!
//! The host sends one line: a shell command in base64. The guest answers one line: the exit
//! status, a space, and what the command wrote (both streams together) in base64. At its start,
//! so once after each boot, the guest sends `READY <boot_id> <IMAGE_VERSION>`.

use std::fmt;
use std::io::{BufRead, BufReader};
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::timeline::{Boot, Event, Timeline};

/// The name of the virtio-serial port.
pub const PORT: &str = "abide.agent";

/// What a command in the guest came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// The exit status; 128 + n after signal n, as shells report it.
    pub status: i32,
    /// Standard output and standard error together.
    pub text: String,
}

impl Output {
    /// True when the exit status is 0.
    pub fn success(&self) -> bool {
        self.status == 0
    }
}

impl fmt::Display for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "exit status {}: {}", self.status, self.text.trim_end())
    }
}

/// Records what the agent says until the port is closed.
pub(crate) fn follow(stream: UnixStream, timeline: &Arc<Timeline>) {
    for line in BufReader::new(stream).split(b'\n') {
        let Ok(line) = line else { break };
        let line = String::from_utf8_lossy(&line);
        // A reset in the middle of a line leaves its beginning before the next announcement.
        let line = match line.find("READY ") {
            Some(at) => line.get(at..).unwrap_or_default(),
            None => line.as_ref(),
        };
        let line = line.trim();
        match line.strip_prefix("READY ") {
            Some(rest) => {
                let (id, version) = rest.split_once(' ').unwrap_or((rest, ""));
                timeline.push(Event::Ready(Boot { id: id.to_owned(), version: version.to_owned() }));
            }
            None if line.is_empty() => {}
            None => timeline.push(Event::Answer(line.to_owned())),
        }
    }
}

/// The line that asks for `command`.
pub(crate) fn request(command: &str) -> String {
    STANDARD.encode(command) + "\n"
}

/// The meaning of an answer; `None` when it does not follow the protocol.
pub(crate) fn answer(line: &str) -> Option<Output> {
    let (status, text) = line.split_once(' ').unwrap_or((line, ""));
    let bytes = STANDARD.decode(text.trim()).ok()?;
    Some(Output { status: status.parse().ok()?, text: String::from_utf8_lossy(&bytes).into_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_one_line_of_base64() {
        assert_eq!(request("echo hello\necho you"), "ZWNobyBoZWxsbwplY2hvIHlvdQ==\n");
    }

    #[test]
    fn an_answer_holds_status_and_text() {
        let output = answer("3 aGVsbG8K");
        assert_eq!(output, Some(Output { status: 3, text: "hello\n".into() }));
    }

    #[test]
    fn an_answer_may_be_empty() {
        assert_eq!(answer("0 ").map(|output| output.text), Some(String::new()));
        assert_eq!(answer("0").map(|output| output.status), Some(0));
    }

    #[test]
    fn anything_else_is_no_answer() {
        assert_eq!(answer("hello there"), None);
        assert_eq!(answer("0 ***"), None);
    }
}

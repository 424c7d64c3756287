//! QEMU's monitor protocol: commands with answers, events into the timeline.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use serde_json::{Value, json};

use crate::timeline::{Event, Timeline};
use crate::{Error, Result};

/// How long QEMU may take to answer a command. It answers at once unless the host is overloaded.
const ANSWER: Duration = Duration::from_secs(120);

/// A connection to the monitor of one machine.
pub struct Monitor {
    machine: String,
    stream: UnixStream,
    replies: Receiver<Value>,
}

impl Monitor {
    /// Takes the connection, greets QEMU and starts to record its events.
    pub fn new(machine: &str, stream: UnixStream, timeline: Arc<Timeline>) -> Result<Monitor> {
        let reader = stream.try_clone().map_err(Error::doing("share the monitor's socket"))?;
        let (sender, replies) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(reader).lines() {
                let Ok(line) = line else { break };
                let Ok(message) = serde_json::from_str::<Value>(&line) else {
                    continue;
                };
                if message.get("event").is_some() {
                    timeline.push(event(&message));
                } else if message.get("QMP").is_none() && sender.send(message).is_err() {
                    break;
                }
            }
        });
        let mut monitor = Monitor { machine: machine.to_owned(), stream, replies };
        monitor.execute("qmp_capabilities", json!({}))?;
        Ok(monitor)
    }

    /// Runs one command and returns its result.
    ///
    /// # Errors
    /// [`Error::Monitor`] when QEMU refuses it or does not answer.
    pub fn execute(&mut self, command: &str, arguments: Value) -> Result<Value> {
        let refused = |reply: String| Error::Monitor {
            machine: self.machine.clone(),
            command: command.to_owned(),
            reply,
        };
        let line = json!({"execute": command, "arguments": arguments}).to_string() + "\n";
        self.stream.write_all(line.as_bytes()).map_err(|error| refused(error.to_string()))?;
        let reply = self.replies.recv_timeout(ANSWER).map_err(|_| refused("no answer".to_owned()))?;
        match reply.get("return") {
            Some(value) => Ok(value.clone()),
            None => Err(refused(reply.to_string())),
        }
    }
}

/// Translates an event of the monitor.
fn event(message: &Value) -> Event {
    let name = message.get("event").and_then(Value::as_str).unwrap_or("");
    let by_guest = message.pointer("/data/guest") == Some(&Value::Bool(true));
    let status = message.pointer("/data/status").and_then(Value::as_str);
    match (name, status) {
        ("RESET", _) => Event::Reset(by_guest),
        ("SHUTDOWN", _) => Event::Shutdown(by_guest),
        ("WATCHDOG", _) => Event::Watchdog,
        ("MIGRATION", Some(status)) => Event::Migration(status.to_owned()),
        _ => Event::Monitor(name.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_tell_who_asked() {
        let reset = json!({"event": "RESET", "data": {"guest": true, "reason": "guest-reset"}});
        let off = json!({"event": "SHUTDOWN", "data": {"guest": false, "reason": "host-qmp-quit"}});
        assert_eq!(event(&reset), Event::Reset(true));
        assert_eq!(event(&off), Event::Shutdown(false));
        assert_eq!(event(&json!({"event": "RTC_CHANGE"})), Event::Monitor("RTC_CHANGE".into()));
    }
}

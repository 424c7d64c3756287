//! A connection to systemd: the greeting (D-Bus specification, "Authentication Protocol"), calls and
//! their replies.

use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use nix::unistd::getuid;

use crate::systemd::dbus::error::{DbusError, cannot_parse, lost};
use crate::systemd::dbus::message::{Call, FIXED, Reply, lengths};
use abide_core::root::Root;

/// systemd's own socket: for root only, with no bus in between and no `Hello`.
const PRIVATE: &str = "/run/systemd/private";
const BUS: &str = "/run/dbus/system_bus_socket";

const SYSTEMD: &str = "org.freedesktop.systemd1";
const DAEMON: &str = "org.freedesktop.DBus";

/// A connection to systemd.
#[derive(Debug)]
pub struct Connection {
    stream: UnixStream,
    /// The name of the peer on the bus; none without a bus.
    destination: Option<&'static str>,
    serial: u32,
    limit: Duration,
    deadline: Instant,
}

impl Connection {
    /// Connects to the systemd of `root`. All calls must be answered within `limit`.
    pub fn open(root: &Root, limit: Duration) -> Result<Self, DbusError> {
        match Self::authenticate(root, PRIVATE, None, limit) {
            // Behind the bus is the same systemd: after a timeout here the bus would time out, too.
            Err(DbusError::Unusable(_)) => Self::authenticate(root, BUS, Some(SYSTEMD), limit),
            other => other,
        }
    }

    fn authenticate(
        root: &Root,
        socket: &str,
        destination: Option<&'static str>,
        limit: Duration,
    ) -> Result<Self, DbusError> {
        let unusable = |e: io::Error| DbusError::Unusable(format!("{socket}: {e}"));
        let stream = UnixStream::connect(root.path(socket)).map_err(unusable)?;
        let deadline = Instant::now() + limit;
        let mut connection = Self { stream, destination, serial: 0, limit, deadline };
        let user: String = getuid().to_string().bytes().map(|digit| format!("{digit:02x}")).collect();
        connection.send(format!("\0AUTH EXTERNAL {user}\r\n").as_bytes())?;
        let answer = connection.line()?;
        if !answer.starts_with("OK ") {
            return Err(DbusError::Unusable(format!("{socket}: {}", answer.trim())));
        }
        connection.send(b"BEGIN\r\n")?;
        if destination.is_some() {
            connection.destination = Some(DAEMON);
            let hello = Call::new("/org/freedesktop/DBus", DAEMON, "Hello", "", &())?;
            connection.call(&hello)?;
            connection.destination = destination;
        }
        Ok(connection)
    }

    pub(super) fn call(&mut self, call: &Call<'_>) -> Result<Reply, DbusError> {
        let mut replies = self.call_all(std::slice::from_ref(call))?;
        let reply = replies.pop().ok_or_else(|| cannot_parse("no reply"))?;
        match &reply.error {
            None => Ok(reply),
            Some(error) => Err(cannot_parse(format!("{}: {error}: {}", call.member, reply.error_text()))),
        }
    }

    /// Sends all calls at once and waits for all replies, which are in the order of the calls.
    pub(super) fn call_all(&mut self, calls: &[Call<'_>]) -> Result<Vec<Reply>, DbusError> {
        let first = self.serial + 1;
        let mut bytes = vec![];
        for call in calls {
            self.serial += 1;
            bytes.extend(call.encode(self.destination, self.serial)?);
        }
        self.send(&bytes)?;
        let mut replies: Vec<Option<Reply>> = calls.iter().map(|_| None).collect();
        while replies.iter().any(Option::is_none) {
            let (serial, reply) = self.receive()?;
            let index = serial.and_then(|s| s.checked_sub(first)).map(|i| i as usize);
            if let Some(place) = index.and_then(|i| replies.get_mut(i)) {
                *place = Some(reply);
            }
        }
        Ok(replies.into_iter().flatten().collect())
    }

    fn receive(&mut self) -> Result<(Option<u32>, Reply), DbusError> {
        let mut fixed = [0; FIXED];
        self.fill(&mut fixed)?;
        let (fields, body) = lengths(&fixed)?;
        let mut rest = vec![0; fields + body];
        self.fill(&mut rest)?;
        let body = rest.split_off(fields);
        Reply::parse([&fixed[..], &rest].concat(), body)
    }

    fn line(&mut self) -> Result<String, DbusError> {
        let mut line = vec![];
        while line.last() != Some(&b'\n') && line.len() < 512 {
            let mut byte = [0];
            self.fill(&mut byte)?;
            line.extend(byte);
        }
        Ok(String::from_utf8_lossy(&line).into_owned())
    }

    fn fill(&mut self, mut buffer: &mut [u8]) -> Result<(), DbusError> {
        while !buffer.is_empty() {
            let left = self.deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(self.timed_out());
            }
            self.stream.set_read_timeout(Some(left)).map_err(lost)?;
            match self.stream.read(buffer) {
                Ok(0) => return Err(lost(ErrorKind::UnexpectedEof.into())),
                Ok(count) => buffer = buffer.get_mut(count..).unwrap_or_default(),
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    return Err(self.timed_out());
                }
                Err(e) => return Err(lost(e)),
            }
        }
        Ok(())
    }

    fn send(&mut self, bytes: &[u8]) -> Result<(), DbusError> {
        self.stream.set_write_timeout(Some(self.limit.max(Duration::from_millis(1)))).map_err(lost)?;
        self.stream.write_all(bytes).map_err(lost)
    }

    fn timed_out(&self) -> DbusError {
        DbusError::TimedOut(format!("systemd did not answer for {}s", self.limit.as_secs_f32()))
    }
}

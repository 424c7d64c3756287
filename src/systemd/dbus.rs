//! systemd's D-Bus interface (org.freedesktop.systemd1(5)) over its own socket, which works without a
//! bus, or over the system's bus, which works for everybody.
//!
//! The bytes are the crate `zvariant`'s matter; here is the little that is left of the protocol: to
//! say who we are, and to find the replies to what was asked (D-Bus specification, "Authentication
//! Protocol" and "Message Format").

use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use nix::unistd::getuid;
use serde::{Deserialize, Serialize, Serializer};
use zvariant::serialized::{Context, Data};
use zvariant::{BE, LE, ObjectPath, OwnedObjectPath, SerializeValue, Signature, Type, Value, to_bytes};

use crate::systemd::answers;
use crate::systemd::answers::{Listed, Queued};
use crate::systemd::{Job, Properties, Silence};
use abide_core::root::Root;

/// systemd's own socket: for root, no bus in between, and no greeting.
const PRIVATE: &str = "/run/systemd/private";
const BUS: &str = "/run/dbus/system_bus_socket";

const SYSTEMD: &str = "org.freedesktop.systemd1";
const MANAGER: &str = "org.freedesktop.systemd1.Manager";
const MANAGER_PATH: &str = "/org/freedesktop/systemd1";
const PROPERTIES: &str = "org.freedesktop.DBus.Properties";
const DAEMON: &str = "org.freedesktop.DBus";

/// The types of message, and the fields of a header.
const CALL: u8 = 1;
const ERROR: u8 = 3;
const PATH: u8 = 1;
const INTERFACE: u8 = 2;
const MEMBER: u8 = 3;
const ERROR_NAME: u8 = 4;
const REPLY_SERIAL: u8 = 5;
const DESTINATION: u8 = 6;
const SIGNATURE: u8 = 8;

/// The part of a header whose length is known.
const FIXED: usize = 16;

/// Ten thousand units with their states are less than this.
const MOST: u32 = 4 << 20;

/// What systemd says where a unit of that type does not have what was asked for.
const HAS_NONE: [&str; 2] =
    ["org.freedesktop.DBus.Error.UnknownProperty", "org.freedesktop.DBus.Error.UnknownInterface"];

/// Byte order, type, flags, version, length of the body, serial, fields.
type Header<'a> = (u8, u8, u8, u8, u32, u32, Vec<(u8, Value<'a>)>);
/// The same as it is sent.
type Sent<'a> = (u8, u8, u8, u8, u32, u32, Vec<(u8, Field<'a>)>);
/// The same with the length of the fields.
type Fixed = (u8, u8, u8, u8, u32, u32, u32);

/// The value of a field of a header. Not a [`Value`]: that writes the signature of two arguments as
/// that of one structure, `(ss)` in place of `ss`, and systemd refuses the call.
#[derive(Debug)]
enum Field<'a> {
    Path(ObjectPath<'a>),
    Text(&'a str),
    Signature(Bare),
}

/// The signature of a list of arguments.
#[derive(Debug)]
struct Bare(&'static str);

impl Type for Field<'_> {
    const SIGNATURE: &'static Signature = &Signature::Variant;
}

impl Serialize for Field<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Path(path) => SerializeValue(path).serialize(serializer),
            Self::Text(text) => SerializeValue(text).serialize(serializer),
            Self::Signature(signature) => SerializeValue(signature).serialize(serializer),
        }
    }
}

impl Type for Bare {
    const SIGNATURE: &'static Signature = &Signature::Signature;
}

impl Serialize for Bare {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0)
    }
}

/// A connection to systemd.
#[derive(Debug)]
pub struct Dbus {
    stream: UnixStream,
    /// Who is spoken to; nobody in particular where there is no bus.
    destination: Option<&'static str>,
    serial: u32,
    limit: Duration,
    deadline: Instant,
}

/// What came back.
#[derive(Debug)]
struct Reply {
    order: u8,
    /// The name of the error that it is.
    error: Option<String>,
    body: Vec<u8>,
}

/// What is asked.
#[derive(Debug)]
struct Call<'a> {
    path: &'a str,
    interface: &'static str,
    member: &'static str,
    signature: &'static str,
    body: Vec<u8>,
}

impl<'a> Call<'a> {
    fn new(
        path: &'a str,
        interface: &'static str,
        member: &'static str,
        signature: &'static str,
        arguments: &(impl Serialize + Type),
    ) -> Result<Self, Silence> {
        let body = to_bytes(Context::new_dbus(LE, 0), arguments).map_err(garbled)?.to_vec();
        Ok(Self { path, interface, member, signature, body })
    }

    fn manager(
        member: &'static str,
        signature: &'static str,
        arguments: &(impl Serialize + Type),
    ) -> Result<Self, Silence> {
        Call::new(MANAGER_PATH, MANAGER, member, signature, arguments)
    }
}

impl Dbus {
    /// Connects to the systemd of `root`. Everything that is asked must be answered within `limit`.
    pub fn connect(root: &Root, limit: Duration) -> Result<Self, Silence> {
        match Self::greet(root, PRIVATE, None, limit) {
            // Behind the bus is the same systemd: one that is silent here would have to be waited for twice.
            Err(Silence::Absent(_)) => Self::greet(root, BUS, Some(SYSTEMD), limit),
            greeted => greeted,
        }
    }

    fn greet(
        root: &Root,
        socket: &str,
        destination: Option<&'static str>,
        limit: Duration,
    ) -> Result<Self, Silence> {
        let absent = |e: io::Error| Silence::Absent(format!("{socket}: {e}"));
        let stream = UnixStream::connect(root.path(socket)).map_err(absent)?;
        let deadline = Instant::now() + limit;
        let mut bus = Self { stream, destination, serial: 0, limit, deadline };
        let user: String = getuid().to_string().bytes().map(|digit| format!("{digit:02x}")).collect();
        bus.send(format!("\0AUTH EXTERNAL {user}\r\n").as_bytes())?;
        let answer = bus.line()?;
        if !answer.starts_with("OK ") {
            return Err(Silence::Absent(format!("{socket}: {}", answer.trim())));
        }
        bus.send(b"BEGIN\r\n")?;
        if destination.is_some() {
            bus.destination = Some(DAEMON);
            let hello = Call::new("/org/freedesktop/DBus", DAEMON, "Hello", "", &())?;
            bus.ask(&hello)?;
            bus.destination = destination;
        }
        Ok(bus)
    }

    /// As [`crate::systemd::Systemd::show`].
    pub fn show(&mut self, units: &[&str], names: &[&str]) -> Result<Vec<Properties>, Silence> {
        units.iter().map(|unit| self.show_one(unit, names)).collect()
    }

    fn show_one(&mut self, unit: &str, names: &[&str]) -> Result<Properties, Silence> {
        // Of a unit that does not exist, too, there is one to look at: it says `not-found`.
        let load = Call::manager("LoadUnit", "s", &(unit,))?;
        let (path,): (OwnedObjectPath,) = self.ask(&load)?.read()?;
        let of_type = answers::interface_of(unit);
        let mut calls = vec![];
        for name in names {
            let interface = if answers::is_of_type(name) { &of_type } else { answers::UNIT };
            calls.push(Call::new(path.as_str(), PROPERTIES, "Get", "ss", &(interface, *name))?);
        }
        let mut properties = Properties::new();
        for (name, reply) in names.iter().zip(self.ask_all(&calls)?) {
            match reply.error.as_deref() {
                None => {}
                Some(error) if HAS_NONE.contains(&error) => continue,
                Some(error) => return Err(garbled(format!("{error}: {}", reply.complaint()))),
            }
            let data = reply.data();
            let ((value,), _): ((Value<'_>,), usize) = data.deserialize().map_err(garbled)?;
            if let Some(text) = answers::text(&value) {
                properties.insert((*name).to_owned(), text);
            }
        }
        Ok(properties)
    }

    /// As [`crate::systemd::Systemd::failed_units`].
    pub fn failed_units(&mut self) -> Result<Vec<String>, Silence> {
        let call = Call::manager("ListUnitsFiltered", "as", &(vec!["failed"],))?;
        let (units,): (Vec<Listed>,) = self.ask(&call)?.read()?;
        Ok(answers::names(units))
    }

    /// As [`crate::systemd::Systemd::jobs`].
    pub fn jobs(&mut self) -> Result<Vec<Job>, Silence> {
        let (jobs,): (Vec<Queued>,) = self.ask(&Call::manager("ListJobs", "", &())?)?.read()?;
        Ok(jobs.into_iter().map(answers::job).collect())
    }

    fn ask(&mut self, call: &Call<'_>) -> Result<Reply, Silence> {
        let mut replies = self.ask_all(std::slice::from_ref(call))?;
        let reply = replies.pop().ok_or_else(|| garbled("no reply"))?;
        match &reply.error {
            None => Ok(reply),
            Some(error) => Err(garbled(format!("{}: {error}: {}", call.member, reply.complaint()))),
        }
    }

    /// Asks everything at once and waits for all replies, which are in the order of the calls.
    fn ask_all(&mut self, calls: &[Call<'_>]) -> Result<Vec<Reply>, Silence> {
        let first = self.serial + 1;
        let mut bytes = vec![];
        for call in calls {
            self.serial += 1;
            bytes.extend(encode(call, self.destination, self.serial)?);
        }
        self.send(&bytes)?;
        let mut replies: Vec<Option<Reply>> = calls.iter().map(|_| None).collect();
        while replies.iter().any(Option::is_none) {
            let (serial, reply) = self.receive()?;
            // Signals reply to nothing.
            let index = serial.and_then(|s| s.checked_sub(first)).map(|i| i as usize);
            if let Some(place) = index.and_then(|i| replies.get_mut(i)) {
                *place = Some(reply);
            }
        }
        Ok(replies.into_iter().flatten().collect())
    }

    fn receive(&mut self) -> Result<(Option<u32>, Reply), Silence> {
        let mut fixed = [0; FIXED];
        self.fill(&mut fixed)?;
        let order = fixed[0];
        let context = context(order);
        let ((_, kind, _, _, body, _, fields), _): (Fixed, usize) =
            Data::new(&fixed[..], context).deserialize().map_err(garbled)?;
        if fields > MOST || body > MOST {
            return Err(garbled("a message that is too long"));
        }
        let (fields, body) = ((fields as usize).next_multiple_of(8), body as usize);
        let mut rest = vec![0; fields + body];
        self.fill(&mut rest)?;
        let body = rest.split_off(fields);
        let header = [&fixed[..], &rest].concat();
        let header = Data::new(header, context);
        let (header, _): (Header<'_>, usize) = header.deserialize().map_err(garbled)?;
        let serial = header.6.iter().find_map(|(field, value)| match value {
            Value::U32(serial) if *field == REPLY_SERIAL => Some(*serial),
            _ => None,
        });
        let name = header.6.iter().find_map(|(field, value)| match value {
            Value::Str(name) if *field == ERROR_NAME => Some(name.to_string()),
            _ => None,
        });
        let error = (kind == ERROR).then(|| name.unwrap_or_default());
        Ok((serial, Reply { order, error, body }))
    }

    fn line(&mut self) -> Result<String, Silence> {
        let mut line = vec![];
        while line.last() != Some(&b'\n') && line.len() < 512 {
            let mut byte = [0];
            self.fill(&mut byte)?;
            line.extend(byte);
        }
        Ok(String::from_utf8_lossy(&line).into_owned())
    }

    fn fill(&mut self, mut buffer: &mut [u8]) -> Result<(), Silence> {
        while !buffer.is_empty() {
            let left = self.deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(self.late());
            }
            self.stream.set_read_timeout(Some(left)).map_err(lost)?;
            match self.stream.read(buffer) {
                Ok(0) => return Err(lost(ErrorKind::UnexpectedEof.into())),
                Ok(count) => buffer = buffer.get_mut(count..).unwrap_or_default(),
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    return Err(self.late());
                }
                Err(e) => return Err(lost(e)),
            }
        }
        Ok(())
    }

    fn send(&mut self, bytes: &[u8]) -> Result<(), Silence> {
        self.stream.set_write_timeout(Some(self.limit.max(Duration::from_millis(1)))).map_err(lost)?;
        self.stream.write_all(bytes).map_err(lost)
    }

    fn late(&self) -> Silence {
        Silence::Asked(format!("systemd did not answer for {}s", self.limit.as_secs_f32()))
    }
}

impl Reply {
    fn data(&self) -> Data<'_, '_> {
        Data::new(&self.body[..], context(self.order))
    }

    fn read<T: for<'d> Deserialize<'d> + Type>(&self) -> Result<T, Silence> {
        self.data().deserialize().map(|(value, _)| value).map_err(garbled)
    }

    /// What an error says, as far as it says something.
    fn complaint(&self) -> String {
        self.read::<(String,)>().map(|(text,)| text).unwrap_or_else(|_| "refused".into())
    }
}

fn encode(call: &Call<'_>, destination: Option<&str>, serial: u32) -> Result<Vec<u8>, Silence> {
    let path = ObjectPath::try_from(call.path).map_err(garbled)?;
    let mut fields = vec![
        (PATH, Field::Path(path)),
        (INTERFACE, Field::Text(call.interface)),
        (MEMBER, Field::Text(call.member)),
    ];
    fields.extend(destination.map(|destination| (DESTINATION, Field::Text(destination))));
    if !call.signature.is_empty() {
        fields.push((SIGNATURE, Field::Signature(Bare(call.signature))));
    }
    let length = u32::try_from(call.body.len()).map_err(garbled)?;
    let header: Sent<'_> = (b'l', CALL, 0, 1, length, serial, fields);
    let mut bytes = to_bytes(Context::new_dbus(LE, 0), &header).map_err(garbled)?.to_vec();
    bytes.resize(bytes.len().next_multiple_of(8), 0);
    bytes.extend_from_slice(&call.body);
    Ok(bytes)
}

fn context(order: u8) -> Context {
    if order == b'B' { Context::new_dbus(BE, 0) } else { Context::new_dbus(LE, 0) }
}

fn lost(e: io::Error) -> Silence {
    Silence::Absent(format!("the connection to systemd broke: {e}"))
}

fn garbled(e: impl std::fmt::Display) -> Silence {
    Silence::Absent(format!("systemd is not understood: {e}"))
}

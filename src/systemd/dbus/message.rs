//! D-Bus messages as bytes (D-Bus specification, "Message Format"). The crate `zvariant` encodes the
//! values; this is the framing around them.

use serde::{Deserialize, Serialize, Serializer};
use zvariant::serialized::{Context, Data};
use zvariant::{BE, LE, ObjectPath, SerializeValue, Signature, Type, Value, to_bytes};

use crate::systemd::dbus::error::{DbusError, cannot_parse};

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
pub(super) const FIXED: usize = 16;

/// The upper bound of a message. Ten thousand units with their states are less than this.
const MAX_MESSAGE: u32 = 4 << 20;

/// The interface that every object with properties has.
pub(super) const PROPERTIES: &str = "org.freedesktop.DBus.Properties";

const MANAGER_PATH: &str = "/org/freedesktop/systemd1";

/// Byte order, type, flags, version, length of the body, serial, fields.
type Header<'a> = (u8, u8, u8, u8, u32, u32, Vec<(u8, Value<'a>)>);
/// The same as it is sent.
type SentHeader<'a> = (u8, u8, u8, u8, u32, u32, Vec<(u8, HeaderField<'a>)>);
/// The same with the length of the fields in place of the fields.
type FixedHeader = (u8, u8, u8, u8, u32, u32, u32);

/// The value of a field of a header. Not a [`Value`]: that writes the signature of two arguments as
/// that of one structure, `(ss)` in place of `ss`, and systemd refuses the call.
#[derive(Debug)]
enum HeaderField<'a> {
    Path(ObjectPath<'a>),
    Text(&'a str),
    Signature(ArgumentSignature),
}

/// The signature of a list of arguments.
#[derive(Debug)]
struct ArgumentSignature(&'static str);

impl Type for HeaderField<'_> {
    const SIGNATURE: &'static Signature = &Signature::Variant;
}

impl Serialize for HeaderField<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Path(path) => SerializeValue(path).serialize(serializer),
            Self::Text(text) => SerializeValue(text).serialize(serializer),
            Self::Signature(signature) => SerializeValue(signature).serialize(serializer),
        }
    }
}

impl Type for ArgumentSignature {
    const SIGNATURE: &'static Signature = &Signature::Signature;
}

impl Serialize for ArgumentSignature {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0)
    }
}

/// A method call.
#[derive(Debug)]
pub(super) struct Call<'a> {
    path: &'a str,
    interface: &'static str,
    /// The name of the method.
    pub(super) member: &'static str,
    signature: &'static str,
    body: Vec<u8>,
}

impl<'a> Call<'a> {
    pub(super) fn new(
        path: &'a str,
        interface: &'static str,
        member: &'static str,
        signature: &'static str,
        arguments: &(impl Serialize + Type),
    ) -> Result<Self, DbusError> {
        let body = to_bytes(Context::new_dbus(LE, 0), arguments).map_err(cannot_parse)?.to_vec();
        Ok(Self { path, interface, member, signature, body })
    }

    /// The interface of systemd's manager object.
    pub(super) const MANAGER: &'static str = "org.freedesktop.systemd1.Manager";

    /// A call of a method of systemd's manager object.
    pub(super) fn manager(
        member: &'static str,
        signature: &'static str,
        arguments: &(impl Serialize + Type),
    ) -> Result<Self, DbusError> {
        Call::new(MANAGER_PATH, Self::MANAGER, member, signature, arguments)
    }

    /// A call that sets a property of systemd's manager object.
    pub(super) fn set_of_manager(arguments: &(impl Serialize + Type)) -> Result<Self, DbusError> {
        Call::new(MANAGER_PATH, PROPERTIES, "Set", "ssv", arguments)
    }

    /// The bytes of the call. Without a bus there is no `destination`.
    pub(super) fn encode(&self, destination: Option<&str>, serial: u32) -> Result<Vec<u8>, DbusError> {
        let path = ObjectPath::try_from(self.path).map_err(cannot_parse)?;
        let mut fields = vec![
            (PATH, HeaderField::Path(path)),
            (INTERFACE, HeaderField::Text(self.interface)),
            (MEMBER, HeaderField::Text(self.member)),
        ];
        fields.extend(destination.map(|destination| (DESTINATION, HeaderField::Text(destination))));
        if !self.signature.is_empty() {
            fields.push((SIGNATURE, HeaderField::Signature(ArgumentSignature(self.signature))));
        }
        let length = u32::try_from(self.body.len()).map_err(cannot_parse)?;
        let header: SentHeader<'_> = (b'l', CALL, 0, 1, length, serial, fields);
        let mut bytes = to_bytes(Context::new_dbus(LE, 0), &header).map_err(cannot_parse)?.to_vec();
        bytes.resize(bytes.len().next_multiple_of(8), 0);
        bytes.extend_from_slice(&self.body);
        Ok(bytes)
    }
}

/// The lengths of what follows the fixed part of a header: the fields with their padding, and the body.
pub(super) fn lengths(fixed: &[u8; FIXED]) -> Result<(usize, usize), DbusError> {
    let ((_, _, _, _, body, _, fields), _): (FixedHeader, usize) =
        Data::new(&fixed[..], context(fixed[0])).deserialize().map_err(cannot_parse)?;
    if fields > MAX_MESSAGE || body > MAX_MESSAGE {
        return Err(cannot_parse("a message that is too long"));
    }
    Ok(((fields as usize).next_multiple_of(8), body as usize))
}

/// A message that came in.
#[derive(Debug)]
pub(super) struct Reply {
    byte_order: u8,
    /// The name of the error that it is.
    pub(super) error: Option<String>,
    body: Vec<u8>,
}

impl Reply {
    /// Parses a message, and returns the call that it replies to; none for a signal.
    pub(super) fn parse(header: Vec<u8>, body: Vec<u8>) -> Result<(Option<u32>, Self), DbusError> {
        let byte_order = header.first().copied().unwrap_or_default();
        let header = Data::new(header, context(byte_order));
        let ((_, kind, _, _, _, _, fields), _): (Header<'_>, usize) =
            header.deserialize().map_err(cannot_parse)?;
        let serial = fields.iter().find_map(|(field, value)| match value {
            Value::U32(serial) if *field == REPLY_SERIAL => Some(*serial),
            _ => None,
        });
        let name = fields.iter().find_map(|(field, value)| match value {
            Value::Str(name) if *field == ERROR_NAME => Some(name.to_string()),
            _ => None,
        });
        let error = (kind == ERROR).then(|| name.unwrap_or_default());
        Ok((serial, Self { byte_order, error, body }))
    }

    pub(super) fn data(&self) -> Data<'_, '_> {
        Data::new(&self.body[..], context(self.byte_order))
    }

    pub(super) fn read<T: for<'d> Deserialize<'d> + Type>(&self) -> Result<T, DbusError> {
        self.data().deserialize().map(|(value, _)| value).map_err(cannot_parse)
    }

    /// The text of an error.
    pub(super) fn error_text(&self) -> String {
        self.read::<(String,)>().map(|(text,)| text).unwrap_or_else(|_| "refused".into())
    }
}

fn context(byte_order: u8) -> Context {
    if byte_order == b'B' { Context::new_dbus(BE, 0) } else { Context::new_dbus(LE, 0) }
}

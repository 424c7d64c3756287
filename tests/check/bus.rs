//! Calls to systemd over its socket. The other end is a fake here, which speaks D-Bus as systemd does.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::thread;

use abide_testing::Tree;
use serde::Serialize;
use serde_json::Value as Json;
use zvariant::serialized::{Context, Data};
use zvariant::{LE, ObjectPath, Signature, Type, Value, to_bytes};

use crate::{configure, program};

type Header<'a> = (u8, u8, u8, u8, u32, u32, Vec<(u8, Value<'a>)>);

/// How the other end behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Manner {
    /// It answers: `app.service` is in this state, and these units have failed.
    Answers(&'static str, &'static [&'static str]),
    /// It accepts the call and does not reply.
    Silent,
    /// It does not even answer the greeting.
    Deaf,
    /// It does not speak D-Bus.
    Babbles,
    /// It hangs up at once.
    HangsUp,
}

fn listen(tree: &Tree, socket: &str, manner: Manner) {
    let path = tree.path(socket);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let listener = UnixListener::bind(path).unwrap();
    thread::spawn(move || {
        // A client that has disconnected is not an error.
        listener.incoming().for_each(|stream| drop(serve(stream.unwrap(), manner)));
    });
}

fn serve(stream: UnixStream, manner: Manner) -> std::io::Result<()> {
    let (mut reader, mut writer) = (BufReader::new(stream.try_clone()?), stream);
    if manner == Manner::HangsUp {
        return Ok(());
    }
    let mut line = String::new();
    reader.read_line(&mut line)?;
    if manner == Manner::Deaf {
        return reader.read_to_string(&mut line).map(drop);
    }
    assert!(line.starts_with("\0AUTH EXTERNAL "), "{line:?}");
    writer.write_all(b"OK 0123456789abcdef\r\n")?;
    line.clear();
    reader.read_line(&mut line)?;
    assert_eq!(line, "BEGIN\r\n");
    loop {
        let mut fixed = [0; 16];
        reader.read_exact(&mut fixed)?;
        let length = |at: usize| u32::from_le_bytes(fixed[at..at + 4].try_into().unwrap()) as usize;
        let (body, serial, fields) = (length(4), length(8), length(12).next_multiple_of(8));
        let mut rest = vec![0; fields + body];
        reader.read_exact(&mut rest)?;
        let header = [&fixed[..], &rest[..fields]].concat();
        let bytes = header.clone();
        let header = Data::new(header, Context::new_dbus(LE, 0));
        let (header, _): (Header<'_>, usize) = header.deserialize().unwrap();
        let field = |code: u8| header.6.iter().find(|(c, _)| *c == code).map(|(_, value)| value.to_string());
        let unquoted = |text: String| text.trim_matches('"').to_owned();
        let member = unquoted(field(3).unwrap());
        // The signature of two arguments, not of one structure of two: systemd distinguishes them.
        let signature: &[u8] = match member.as_str() {
            "LoadUnit" => b"\x01s\0",
            "Get" => b"\x02ss\0",
            "ListUnitsFiltered" => b"\x02as\0",
            _ => b"",
        };
        assert!(signature.is_empty() || bytes.windows(signature.len()).any(|w| w == signature), "{member}");
        let arguments = Data::new(&rest[fields..], Context::new_dbus(LE, 0));
        let serial = u32::try_from(serial).unwrap();
        let Manner::Answers(state, failed) = manner else {
            match manner {
                Manner::Babbles => writer.write_all(&[b'?'; 64])?,
                _ => continue,
            }
            continue;
        };
        // A signal for another client in between.
        writer.write_all(&message(4, 0, "s", &("news",)))?;
        let root = || ObjectPath::try_from("/").unwrap();
        match member.as_str() {
            "Hello" => writer.write_all(&message(2, serial, "s", &(":1.7",)))?,
            "LoadUnit" => {
                let ((unit,), _): ((String,), usize) = arguments.deserialize().unwrap();
                let path = format!("/org/freedesktop/systemd1/unit/{}", unit.replace(['.', '-'], "_"));
                writer.write_all(&message(2, serial, "o", &(ObjectPath::try_from(path).unwrap(),)))?;
            }
            "Get" => {
                let ((interface, name), _): ((String, String), usize) = arguments.deserialize().unwrap();
                let value = match name.as_str() {
                    "LoadState" => Value::from("loaded"),
                    "ActiveState" if field(1).unwrap().contains("emergency") => Value::from("inactive"),
                    "ActiveState" if field(1).unwrap().contains("rescue") => Value::from("inactive"),
                    "ActiveState" => Value::from(state),
                    "Id" => Value::from("multi-user.target"),
                    "NRestarts" => Value::from(0_u32),
                    "ExecMainCode" | "ExecMainStatus" => Value::from(1_i32),
                    "Result" => Value::from("exit-code"),
                    "InvocationID" => Value::from(vec![1_u8, 2]),
                    _ => {
                        let text = format!("{interface} has no {name}");
                        writer.write_all(&message(3, serial, "s", &(text,)))?;
                        continue;
                    }
                };
                writer.write_all(&message(2, serial, "v", &(value,)))?;
            }
            "ListUnitsFiltered" => {
                let rows: Vec<_> = failed
                    .iter()
                    .map(|unit| (unit, "", "loaded", "failed", "failed", "", root(), 0_u32, "", root()))
                    .collect();
                writer.write_all(&message(2, serial, "a(ssssssouso)", &(rows,)))?;
            }
            "ListJobs" => {
                let rows = vec![(7_u32, "hang.service", "start", "running", root(), root())];
                writer.write_all(&message(2, serial, "a(usssoo)", &(rows,)))?;
            }
            other => panic!("{other}"),
        }
    }
}

fn message(kind: u8, serial: u32, signature: &str, body: &(impl Serialize + Type)) -> Vec<u8> {
    let body = to_bytes(Context::new_dbus(LE, 0), body).unwrap();
    let signature = Signature::try_from(signature).unwrap();
    let mut fields = vec![(8, Value::from(signature))];
    if kind == 3 {
        fields.push((4, Value::from("org.freedesktop.DBus.Error.UnknownProperty")));
    }
    if kind != 4 {
        fields.push((5, Value::from(serial)));
    }
    let header: Header<'_> = (b'l', kind, 1, 1, u32::try_from(body.len()).unwrap(), 99, fields);
    let mut bytes = to_bytes(Context::new_dbus(LE, 0), &header).unwrap().to_vec();
    bytes.resize(bytes.len().next_multiple_of(8), 0);
    bytes.extend_from_slice(&body);
    bytes
}

const PRIVATE: &str = "run/systemd/private";
const BUS: &str = "run/dbus/system_bus_socket";

/// A systemctl that reports this for every unit.
const MASKED: &str = "printf 'LoadState=masked\\nActiveState=inactive\\n'";

/// A machine whose systemctl reports the opposite of its socket.
fn asked(socket: &str, manner: Manner, kind: &str) -> Json {
    asked_among(&[(socket, manner)], kind, "8s", MASKED)
}

fn asked_among(sockets: &[(&str, Manner)], kind: &str, timeout: &str, systemctl: &str) -> Json {
    let tree = Tree::running("1.0");
    configure(&tree, &format!("[[check]]\nname = 'x'\ntimeout = '{timeout}'\n{kind}\n"));
    program(&tree, "usr/bin/systemctl", systemctl);
    for (socket, manner) in sockets {
        listen(&tree, socket, *manner);
    }
    tree.abide(&["check", "--json"]).json()["checks"][0].clone()
}

const UNIT: &str = "kind = 'unit'\nunits = 'app.service'";
const SYSTEM: &str = "kind = 'system'";

#[test]
fn systemd_is_asked_over_its_own_socket_or_the_bus() {
    for socket in [PRIVATE, BUS] {
        let found = asked(socket, Manner::Answers("active", &[]), UNIT);
        assert_eq!(found["result"], "pass", "{socket}: {found}");
        let found = asked(socket, Manner::Answers("failed", &[]), UNIT);
        assert_eq!(found["reason"], "app.service failed (exit-code, status 1)", "{socket}");
        let found = asked(socket, Manner::Answers("active", &[]), SYSTEM);
        assert_eq!(found["result"], "pass", "{socket}: {found}");
        let found = asked(socket, Manner::Answers("active", &["b.service", "a.mount"]), SYSTEM);
        assert_eq!(found["reason"], "failed: a.mount, b.service", "{socket}");
        let found = asked(socket, Manner::Answers("inactive", &[]), SYSTEM);
        assert_eq!(
            found["reason"], "multi-user.target is not reached; still starting: hang.service",
            "{socket}"
        );
    }
}

#[test]
fn a_systemd_that_does_not_answer_is_given_up_at_the_timeout() {
    for kind in [UNIT, SYSTEM] {
        let found = asked_among(&[(PRIVATE, Manner::Silent)], kind, "1s", "exec sleep 60");
        assert_eq!(found["reason"], "systemd did not answer for 0.5s", "{found}");
        assert!(found["seconds"].as_f64().unwrap() < 20.0, "{found}");
    }
}

#[test]
fn where_a_socket_is_of_no_use_systemctl_is_asked() {
    for manner in [Manner::Babbles, Manner::HangsUp, Manner::Silent] {
        let found = asked(PRIVATE, manner, UNIT);
        assert_eq!(found["reason"], "app.service is masked", "{manner:?}: {found}");
    }
}

#[test]
fn a_systemd_that_is_silent_on_its_socket_is_not_asked_on_the_bus() {
    let sockets = [(PRIVATE, Manner::Deaf), (BUS, Manner::Answers("failed", &[]))];
    let found = asked_among(&sockets, UNIT, "8s", MASKED);
    assert_eq!(found["reason"], "app.service is masked", "{found}");
}

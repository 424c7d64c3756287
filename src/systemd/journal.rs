//! The journal's native protocol, which takes fields beside the message
//! (systemd, docs/JOURNAL_NATIVE_PROTOCOL.md).

use std::os::unix::net::UnixDatagram;

use abide_core::root::Root;

const SOCKET: &str = "/run/systemd/journal/socket";

/// Sends one entry. Returns whether the journal took it.
pub fn send(root: &Root, fields: &[(&str, String)]) -> bool {
    let sent = UnixDatagram::unbound().and_then(|socket| {
        // A full journal must not block the caller.
        socket.set_nonblocking(true)?;
        socket.send_to(&encode(fields), root.path(SOCKET))
    });
    sent.inspect_err(|e| log::debug!("{SOCKET}: cannot write: {e}")).is_ok()
}

/// `NAME=VALUE` lines; a value of several lines has its length (u64, little endian) before it.
fn encode(fields: &[(&str, String)]) -> Vec<u8> {
    let mut bytes = vec![];
    for (name, value) in fields {
        bytes.extend(name.as_bytes());
        if value.contains('\n') {
            bytes.push(b'\n');
            bytes.extend((value.len() as u64).to_le_bytes());
        } else {
            bytes.push(b'=');
        }
        bytes.extend(value.as_bytes());
        bytes.push(b'\n');
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_of_one_line_is_text() {
        assert_eq!(encode(&[("A", "x".into()), ("B", String::new())]), b"A=x\nB=\n");
    }

    #[test]
    fn a_value_of_several_lines_has_its_length_before_it() {
        assert_eq!(encode(&[("A", "x\ny".into())]), b"A\n\x03\0\0\0\0\0\0\0x\ny\n");
    }

    #[test]
    fn without_a_journal_nothing_is_sent() {
        assert!(!send(&Root::at("/nonexistent"), &[("A", "x".into())]));
    }
}

//! The serial console: recorded byte for byte, and cut into lines without control sequences.

use std::io::{Read, Write};
use std::sync::Arc;

use crate::timeline::{Event, Timeline};

/// Reads the console to its end: each byte into `log`, each line into the timeline.
///
/// The end of the console is the end of QEMU, since nothing else holds its standard output.
pub(crate) fn follow(mut console: impl Read, mut log: impl Write, timeline: &Arc<Timeline>) {
    let mut lines = Lines::default();
    let mut buffer = [0_u8; 4096];
    while let Ok(count) = console.read(&mut buffer) {
        let Some(bytes) = buffer.get(..count).filter(|bytes| !bytes.is_empty()) else {
            break;
        };
        if let Err(error) = log.write_all(bytes) {
            timeline.push(Event::Line(format!("[serial log not written: {error}]")));
        }
        for line in lines.take(bytes) {
            timeline.push(Event::Line(line));
        }
    }
    timeline.push(Event::Exited);
}

/// Cuts a byte stream into lines; drops terminal control sequences and empty lines.
#[derive(Debug, Default)]
pub struct Lines {
    current: Vec<u8>,
    escape: Escape,
}

/// How far into a control sequence the stream is.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Escape {
    #[default]
    None,
    Begun,
    Control,
}

impl Lines {
    /// Takes the next bytes; returns the lines that they complete.
    pub fn take(&mut self, bytes: &[u8]) -> Vec<String> {
        let mut complete = Vec::new();
        for &byte in bytes {
            self.escape = match (self.escape, byte) {
                (Escape::None, 0x1b) => Escape::Begun,
                (Escape::None, b'\n' | b'\r') => {
                    complete.extend(self.end_line());
                    Escape::None
                }
                (Escape::None, _) => {
                    self.current.push(byte);
                    Escape::None
                }
                (Escape::Begun, b'[') => Escape::Control,
                // A cursor movement or a cleared screen begins something new on a real terminal.
                (Escape::Control, b'H' | b'J') => {
                    complete.extend(self.end_line());
                    Escape::None
                }
                (Escape::Control, 0x20..=0x3f) => Escape::Control,
                (Escape::Begun | Escape::Control, _) => Escape::None,
            };
        }
        complete
    }

    fn end_line(&mut self) -> Option<String> {
        let bytes = std::mem::take(&mut self.current);
        let text = String::from_utf8_lossy(&bytes).trim_end().to_owned();
        (!text.is_empty()).then_some(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_lose_colours_and_carriage_returns() {
        let mut lines = Lines::default();
        assert_eq!(lines.take(b"\x1b[1;31mBdsDxe\x1b[0m: loading\r\nnext"), ["BdsDxe: loading"]);
        assert_eq!(lines.take(b" one\n\r\n"), ["next one"]);
    }

    #[test]
    fn a_control_sequence_may_be_cut_in_two() {
        let mut lines = Lines::default();
        assert!(lines.take(b"a\x1b[0").is_empty());
        assert_eq!(lines.take(b"1mb\n"), ["ab"]);
    }

    #[test]
    fn moving_the_cursor_ends_a_line() {
        assert_eq!(Lines::default().take(b"menu\x1b[01;01Hnext\n"), ["menu", "next"]);
    }
}

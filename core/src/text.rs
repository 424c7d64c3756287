//! Text from outside, as it is shown: printable, without terminal escapes, of bounded length.
//!
//! Replies of servers, outputs of checks, messages of units, names in lists: they end up on terminals, in the journal and
//! at servers. Each is cleaned once, where it comes in; records that an earlier version wrote, where they are read.

use serde::{Deserialize, Deserializer};

/// The longest line, and the longest text of several lines, in bytes.
const MAX_LINE: usize = 1024;
const MAX_LINES: usize = 4096;

/// Stands for what was left out.
pub const ELLIPSIS: &str = "…";

/// Whether a character has a place of its own in a line: it is not a control character, no line end, and does not
/// change how other characters are shown, as the marks for the direction of a script do.
fn is_shown(c: char) -> bool {
    !c.is_control()
        && !matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// Whether a text can be shown in one line as it is.
#[must_use]
pub fn is_printable(text: &str) -> bool {
    text.chars().all(is_shown)
}

/// One line of any length, without blanks at its ends. Terminal escapes are dropped, a blank stands for each line end
/// and every other character that cannot be shown.
#[must_use]
pub fn printable(text: &str) -> String {
    clean(text, false)
}

/// As [`printable`], cut to 1024 bytes.
#[must_use]
pub fn line(text: &str) -> String {
    cut(printable(text), MAX_LINE)
}

/// Lines, with their indentation, each as [`printable`] otherwise; cut to 4096 bytes.
#[must_use]
pub fn lines(text: &str) -> String {
    cut(clean(text, true), MAX_LINES)
}

/// Reads a text of a record as [`line`]: for `serde(deserialize_with)`.
///
/// # Errors
/// If it is not a text.
pub fn read_line<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    String::deserialize(from).map(read_as_line)
}

/// Reads a text of a record as [`lines`].
///
/// # Errors
/// If it is not a text.
pub fn read_lines<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    String::deserialize(from).map(|text| lines(&text))
}

/// Reads a text of a record that may be missing as [`line`].
///
/// # Errors
/// If it is there and not a text.
pub fn read_optional<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    Ok(Option::<String>::deserialize(from)?.map(read_as_line))
}

/// What is a line already is not changed, not even at its ends: it may be compared with something else.
fn read_as_line(text: String) -> String {
    if is_printable(&text) && text.len() <= MAX_LINE { text } else { line(&text) }
}

fn clean(text: &str, keeps_lines: bool) -> String {
    let mut clean = String::with_capacity(text.len());
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        match c {
            // ECMA-48, 5.4 and 8.3.16: a control sequence ends with its first byte from @ to ~.
            '\u{1b}' => skip_escape(&mut rest),
            '\u{9b}' => skip_sequence(&mut rest),
            '\n' if keeps_lines => clean.push('\n'),
            '\r' if keeps_lines => {}
            c if is_shown(c) => clean.push(c),
            _ if clean.ends_with(' ') => {}
            _ => clean.push(' '),
        }
    }
    let start = if keeps_lines { clean.trim_start_matches('\n') } else { clean.trim_start() };
    start.trim_end().to_owned()
}

/// Skips what belongs to an ESC.
fn skip_escape(rest: &mut std::str::Chars<'_>) {
    match rest.clone().next() {
        Some('[') => {
            rest.next();
            skip_sequence(rest);
        }
        // A text for the terminal, such as its title: it ends with BEL or ST.
        Some(']' | 'P' | 'X' | '^' | '_') => {
            while let Some(c) = rest.clone().next().filter(|c| *c != '\n') {
                rest.next();
                if matches!(c, '\u{7}' | '\u{9c}') {
                    break;
                }
                if c == '\u{1b}' {
                    rest.next();
                    break;
                }
            }
        }
        // ECMA-35, 13.2: bytes from blank to /, then one from 0 to ~.
        _ => {
            while let Some(c) = rest.clone().next().filter(|c| (' '..='~').contains(c)) {
                rest.next();
                if c >= '0' {
                    break;
                }
            }
        }
    }
}

fn skip_sequence(rest: &mut std::str::Chars<'_>) {
    while let Some(c) = rest.clone().next().filter(|c| (' '..='~').contains(c)) {
        rest.next();
        if ('@'..='~').contains(&c) {
            break;
        }
    }
}

fn cut(mut text: String, max: usize) -> String {
    if text.len() > max {
        let end = (0..=max - ELLIPSIS.len()).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        text.truncate(end);
        text.push_str(ELLIPSIS);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_no_controls_escapes_or_marks_of_direction() {
        for (text, shown) in [
            ("plain: ä ✓", "plain: ä ✓"),
            ("\x1b[1;31mfailed\x1b[0m at\t9", "failed at 9"),
            ("a\u{9b}31mb\u{9c}c", "ab c"),
            ("\x1b]0;title\x07a\x1b]8;;http://x\x1b\\b", "ab"),
            ("one\r\ntwo\u{2028}three\n", "one two three"),
            ("user\u{202e}gpj\u{2066}.exe", "user gpj .exe"),
            ("\x1b[\u{1b}[2J\x1b", ""),
            ("a\x1b(Bb\x1bcc", "abc"),
            ("\x1b]never ends\nb", "b"),
            ("\0\u{7f}\u{85}x", "x"),
        ] {
            assert_eq!(line(text), shown, "{text:?}");
            assert_eq!(line(&line(text)), line(text));
            assert!(is_printable(&line(text)));
            assert_eq!(is_printable(text), text == shown);
        }
    }

    #[test]
    fn lines_stay_lines_and_both_have_a_bound() {
        assert_eq!(lines("\x1b[31mone\r\n\n\ttwo\x08\n"), "one\n\n two");
        let long = "ä".repeat(10_000);
        assert!(line(&long).len() <= MAX_LINE && line(&long).ends_with(ELLIPSIS));
        assert!(lines(&long).len() <= MAX_LINES);
        assert_eq!(line(&line(&long)), line(&long));
        assert_eq!(printable(&long), long);
    }
}

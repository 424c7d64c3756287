//! Text that must not reach a terminal as it is, and the places where it would show.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::process::Run;
use crate::tree::Tree;

/// A title for the terminal, colours, a cleared screen, a text that runs backwards, and a forged line.
pub const HOSTILE: &str =
    "evil\u{1b}]0;title\u{7}\u{1b}[31m\u{9b}2J\u{202e}txt\u{7f}\u{2066}\r\nabide: forged\u{1b}c";

/// The same, for where a line ends a value.
pub const HOSTILE_WORD: &str = "6.6\u{1b}]0;title\u{7}\u{1b}[31m\u{9b}2J\u{202e}txt\u{7f}\u{2066}";

/// Nothing but characters that have a place of their own in a line; lines may be allowed.
#[track_caller]
pub fn assert_printable(place: &str, text: &str, has_lines: bool) {
    let bad = |c: char| {
        c.is_control()
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}')
    };
    if let Some(c) = text.chars().find(|c| bad(*c) && !(has_lines && *c == '\n')) {
        panic!("{place} has {c:?}: {text:?}");
    }
    let is_forged = |line: &str| line.starts_with("abide: forged") && !place.ends_with(".output");
    assert!(!text.lines().any(is_forged), "{place} has a forged line: {text:?}");
}

/// All texts in JSON. Outputs of programs have lines.
#[track_caller]
pub fn assert_json(place: &str, value: &Value) {
    match value {
        Value::String(text) => assert_printable(place, text, place.ends_with(".output")),
        Value::Array(list) => list.iter().for_each(|value| assert_json(place, value)),
        Value::Object(map) => {
            map.iter().for_each(|(key, value)| assert_json(&format!("{place}.{key}"), value))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// What a command has printed.
#[track_caller]
pub fn assert_run(place: &str, run: &Run) {
    assert_printable(&format!("{place}: stdout"), &run.stdout, true);
    assert_printable(&format!("{place}: stderr"), &run.stderr, true);
}

/// Everything that the machine shows.
#[track_caller]
pub fn assert_machine(tree: &Tree) {
    for command in ["status", "list", "history", "doctor"] {
        assert_run(command, &tree.abide(&["-v", command]));
        let json = tree.abide(&[command, "--json"]);
        assert_printable(&format!("{command}: stderr"), &json.stderr, true);
        assert_json(command, &serde_json::from_str(&json.stdout).unwrap());
    }
    for file in ["run/motd.d/abide", "var/lib/abide/abide.prom"] {
        assert_printable(file, &fs::read_to_string(tree.path(file)).unwrap_or_default(), true);
    }
    assert_reports(&tree.path("var/lib/abide/reports"));
}

/// The events that wait for their server.
#[track_caller]
fn assert_reports(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let bytes = fs::read(entry.unwrap().path()).unwrap();
        assert_json("report", &serde_json::from_slice(&bytes).unwrap());
    }
}

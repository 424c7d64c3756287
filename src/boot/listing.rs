//! What `abide list` shows: the entries in the loader's order, and what boots next.

use serde::Serialize;

use abide_core::boot::model::choice::{Settings, choose};
use abide_core::boot::model::entry::{Entry, EntryKind, EntryState};
use abide_core::boot::model::order::order;
use abide_core::boot::model::quirks::Quirks;
use abide_core::text;

/// The version of the JSON; fields are added, never renamed or dropped.
const SCHEMA: u32 = 1;

/// All entries in the order in which the loader would try them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Listing {
    schema: u32,
    entries: Vec<Line>,
    next: Option<Next>,
}

/// Facts about the entries that their names do not contain.
#[derive(Debug, Clone, Copy, Default)]
pub struct Known<'a> {
    /// The one that this system was booted from, if known.
    pub running: Option<&'a Entry>,
    /// The id of an entry that is good although it has a counter.
    pub counted: Option<&'a str>,
}

/// One entry, in words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Line {
    id: String,
    file: String,
    partition: &'static str,
    #[serde(rename = "type")]
    kind: &'static str,
    title: Option<String>,
    sort_key: Option<String>,
    version: Option<String>,
    tries_left: Option<u32>,
    tries_done: Option<u32>,
    state: &'static str,
    running: bool,
}

/// What boots next, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Next {
    id: String,
    because: String,
}

impl Listing {
    /// Lists `entries`.
    #[must_use]
    pub fn new(entries: &[Entry], settings: &Settings, quirks: &Quirks, known: Known<'_>) -> Self {
        let lines = order(entries, quirks).iter().map(|e| Line::new(e, known)).collect();
        let next = choose(entries, settings, quirks);
        let next =
            next.map(|c| Next { id: text::line(&c.entry.id()), because: text::line(&c.because.to_string()) });
        Self { schema: SCHEMA, entries: lines, next }
    }

    /// A table, for people: `*` marks what runs, `>` what boots next.
    #[must_use]
    pub fn text(&self) -> String {
        let next = self.next.as_ref().map(|n| n.id.as_str());
        // Only the first of two entries with one id boots.
        let position = self.entries.iter().position(|l| Some(l.id.as_str()) == next);
        let rows = self.entries.iter().enumerate().map(|(i, line)| {
            let mark = |on: bool, mark| if on { mark } else { " " };
            let marks = format!("{}{}", mark(line.running, "*"), mark(Some(i) == position, ">"));
            [marks, line.file.clone(), line.version.clone().unwrap_or_else(|| "-".into()), line.tries()]
        });
        let head = ["", "FILE", "VERSION", "STATE"].map(str::to_owned);
        let rows: Vec<[String; 4]> = std::iter::once(head).chain(rows).collect();
        let width = |column: usize| {
            rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let (file, version) = (width(1), width(2));
        let mut text = String::new();
        for [marks, name, number, state] in &rows {
            let row = format!("{marks:2} {name:file$}  {number:version$}  {state}");
            text.push_str(row.trim_end());
            text.push('\n');
        }
        text.push_str(&match &self.next {
            Some(next) => format!("\nnext boot: {}: {}\n", next.id, next.because),
            None => "\nnext boot: none; there is no boot entry\n".to_owned(),
        });
        text
    }
}

impl Line {
    fn new(entry: &Entry, known: Known<'_>) -> Self {
        let counter = entry.name.counter();
        let is_good = known.counted == Some(entry.id().as_str());
        Self {
            id: text::line(&entry.id()),
            file: text::line(&entry.path()),
            partition: entry.partition.as_str(),
            kind: if entry.kind == EntryKind::Uki { "uki" } else { "conf" },
            title: entry.title.as_deref().map(text::line),
            sort_key: entry.sort_key.as_deref().map(text::line),
            version: entry.version.as_deref().map(text::line),
            tries_left: counter.map(|c| c.left),
            tries_done: counter.map(|c| c.done),
            state: if is_good { EntryState::Good } else { entry.state() }.as_str(),
            running: known.running == Some(entry),
        }
    }

    fn tries(&self) -> String {
        let place = if self.partition == "esp" { "" } else { ", on XBOOTLDR" };
        let (left, done) = (self.tries_left.unwrap_or(0), self.tries_done.unwrap_or(0));
        if self.state == EntryState::Trial.as_str() {
            format!("trial: {left} left, {done} used{place}")
        } else if self.state == EntryState::Good.as_str() && self.tries_left.is_some() {
            format!("good: {left} tries left, {done} used{place}")
        } else {
            format!("{}{place}", self.state)
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use abide_testing::entry::uki;

    fn listing() -> Listing {
        let entries =
            [uki("edge_1.0.efi", "1.0"), uki("edge_3.0+0-3.efi", "3.0"), uki("edge_2.0+2-1.efi", "2.0")];
        let known = Known { running: Some(&entries[0]), counted: None };
        Listing::new(&entries, &Settings::default(), &Quirks::NEWEST, known)
    }

    #[test]
    fn the_json_is_that_of_the_contract() {
        let json = serde_json::to_value(listing()).unwrap();
        let expected = serde_json::json!({
            "schema": 1,
            "entries": [
                {"id": "edge_2.0.efi", "file": "EFI/Linux/edge_2.0+2-1.efi", "partition": "esp", "type": "uki",
                 "title": "Edge 2.0", "sort_key": "edge", "version": "2.0", "tries_left": 2, "tries_done": 1,
                 "state": "trial", "running": false},
                {"id": "edge_1.0.efi", "file": "EFI/Linux/edge_1.0.efi", "partition": "esp", "type": "uki",
                 "title": "Edge 1.0", "sort_key": "edge", "version": "1.0", "tries_left": null,
                 "tries_done": null, "state": "good", "running": true},
                {"id": "edge_3.0.efi", "file": "EFI/Linux/edge_3.0+0-3.efi", "partition": "esp", "type": "uki",
                 "title": "Edge 3.0", "sort_key": "edge", "version": "3.0", "tries_left": 0, "tries_done": 3,
                 "state": "bad", "running": false},
            ],
            "next": {"id": "edge_2.0.efi", "because": "highest version with tries left"},
        });
        assert_eq!(json, expected);
    }

    #[test]
    fn the_table_marks_what_runs_and_what_boots_next() {
        let expected = "\
\u{20}  FILE                        VERSION  STATE
 > EFI/Linux/edge_2.0+2-1.efi  2.0      trial: 2 left, 1 used
*  EFI/Linux/edge_1.0.efi      1.0      good
   EFI/Linux/edge_3.0+0-3.efi  3.0      bad

next boot: edge_2.0.efi: highest version with tries left
";
        assert_eq!(listing().text(), expected);
    }

    #[test]
    fn without_entries_nothing_is_next() {
        let listing = Listing::new(&[], &Settings::default(), &Quirks::NEWEST, Known::default());
        assert_eq!(serde_json::to_string(&listing).unwrap(), r#"{"schema":1,"entries":[],"next":null}"#);
    }
}

//! The configuration in force: what was read, written as one file, with the place that each value comes from.

use std::fmt::Write;

use serde_json::{Value as Json, json};

use abide_core::config::tree::{Node, Table, Tree, Value};
use abide_core::error::Result;

use crate::config;
use crate::config::described::DescribedSettings;

/// The keys of a check that are shown first.
const FIRST: [&str; 2] = ["name", "kind"];

/// One value in force.
struct Shown<'t> {
    /// Its table, with the parents of that: `update.window`.
    table: String,
    /// Of a `[[table]]`, which element it is.
    element: Option<usize>,
    /// Of a `[[table]]`, the element's name, where it has one.
    name: Option<&'t str>,
    key: &'t str,
    node: &'t Node,
}

/// `written` with the defaults below it.
///
/// # Errors
/// [`abide_core::error::Error::Usage`] with file and line for an invalid value.
pub fn in_force(written: Tree) -> Result<Tree> {
    let (boot, tables) = config::read(&written)?;
    let mut table = boot.write();
    table.extend(tables.write());
    overlay(&mut table, written.table);
    Ok(Tree { table })
}

/// Replaces the parsed values with the values as written, and adds their origins.
fn overlay(read: &mut Table, written: Table) {
    for (key, node) in written {
        match read.get_mut(&key).map(|node| &mut node.value) {
            Some(value) if is_part(value) => overlay_part(value, node.value),
            _ => {
                read.insert(key, node);
            }
        }
    }
}

fn overlay_part(read: &mut Value, written: Value) {
    match (read, written) {
        (Value::Table(read), Value::Table(written)) => overlay(read, written),
        (Value::List(read), Value::List(written)) => {
            for (read, written) in read.iter_mut().zip(written) {
                overlay_part(&mut read.value, written.value);
            }
        }
        _ => {}
    }
}

fn text_of(node: &Node) -> Option<&str> {
    if let Value::Text(text) = &node.value { Some(text) } else { None }
}

/// As TOML has it: in quotes, if it is not bare.
fn key(key: &str) -> String {
    let is_bare = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    if !key.is_empty() && key.chars().all(is_bare) {
        return key.to_owned();
    }
    literal(&Value::Text(key.to_owned()))
}

/// As TOML, with the file and line of each value in a comment.
#[must_use]
pub fn toml(tree: &Tree) -> String {
    let settings = settings(tree);
    let lines: Vec<String> =
        settings.iter().map(|s| format!("{} = {}", key(s.key), literal(&s.node.value))).collect();
    let width = lines.iter().map(|l| l.chars().count()).filter(|w| *w <= 44).max().unwrap_or(0);
    let mut out = String::new();
    let mut last = None;
    for (setting, line) in settings.iter().zip(&lines) {
        let place = (setting.table.as_str(), setting.element);
        if last.replace(place) != Some(place) {
            let gap = if out.is_empty() { "" } else { "\n" };
            // Writing to a text never fails.
            match setting.element {
                Some(_) => writeln!(out, "{gap}[[{}]]", setting.table),
                None => writeln!(out, "{gap}[{}]", setting.table),
            }
            .unwrap_or_default();
        }
        writeln!(out, "{line:width$}  # {}", setting.node.origin).unwrap_or_default();
    }
    out
}

/// For machines.
#[must_use]
pub fn json(tree: &Tree) -> Json {
    let settings = settings(tree);
    let list: Vec<Json> = settings
        .iter()
        .map(|s| {
            let from = s.node.origin.to_string();
            let value = value(&s.node.value);
            json!({"table": s.table, "element": s.element, "name": s.name, "key": s.key, "value": value, "from": from})
        })
        .collect();
    json!({"schema": 1, "settings": list})
}

fn settings(tree: &Tree) -> Vec<Shown<'_>> {
    let mut all = vec![];
    add_parts("", &tree.table, &mut all);
    all
}

/// Adds the tables in `table`, which is called `path`.
fn add_parts<'t>(path: &str, table: &'t Table, all: &mut Vec<Shown<'t>>) {
    for (key, node) in table {
        let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        match &node.value {
            Value::Table(keys) => add_table(&path, None, keys, all),
            Value::List(list) => {
                for (n, element) in list.iter().enumerate() {
                    if let Value::Table(keys) = &element.value {
                        add_table(&path, Some(n), keys, all);
                    }
                }
            }
            _ => {}
        }
    }
}

/// Adds the keys of one table, and then the tables in it.
fn add_table<'t>(path: &str, element: Option<usize>, keys: &'t Table, all: &mut Vec<Shown<'t>>) {
    let name = element.and_then(|_| keys.get("name").and_then(text_of));
    let plain = keys.iter().filter(|(_, node)| !is_part(&node.value));
    let mut own: Vec<Shown<'_>> =
        plain.map(|(key, node)| Shown { table: path.to_owned(), element, name, key, node }).collect();
    if element.is_some() {
        own.sort_by_key(|s| FIRST.iter().position(|f| *f == s.key).unwrap_or(FIRST.len()));
    }
    all.extend(own);
    add_parts(path, keys, all);
}

/// Whether a value is a table of its own, or a list of them.
fn is_part(value: &Value) -> bool {
    match value {
        Value::Table(_) => true,
        Value::List(list) => {
            !list.is_empty() && list.iter().all(|node| matches!(node.value, Value::Table(_)))
        }
        _ => false,
    }
}

fn value(value: &Value) -> Json {
    match value {
        Value::Text(text) => json!(text),
        Value::Integer(n) => json!(n),
        Value::Float(f) => json!(f),
        Value::Boolean(b) => json!(b),
        Value::List(list) => list.iter().map(|node| self::value(&node.value)).collect(),
        Value::Table(table) => {
            table.iter().map(|(key, node)| (key.clone(), self::value(&node.value))).collect()
        }
    }
}

/// A value as TOML writes it.
pub(super) fn literal(value: &Value) -> String {
    match value {
        Value::Text(text) => toml::Value::String(text.clone()).to_string(),
        Value::Integer(n) => n.to_string(),
        Value::Float(f) => format!("{f:?}"),
        Value::Boolean(b) => b.to_string(),
        Value::List(list) => {
            format!("[{}]", list.iter().map(|node| literal(&node.value)).collect::<Vec<_>>().join(", "))
        }
        Value::Table(table) => {
            let pairs: Vec<String> =
                table.iter().map(|(key, node)| format!("{key} = {}", literal(&node.value))).collect();
            format!("{{ {} }}", pairs.join(", "))
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;
    use crate::config::Config;

    fn shown(text: &str) -> String {
        toml(&in_force(Tree::parse("/etc/abide/abide.toml", text).unwrap()).unwrap())
    }

    #[test]
    fn without_a_file_the_defaults_are_in_force() {
        let text = shown("");
        assert_eq!(Config::parse("f", &text).unwrap(), Config::default(), "{text}");
        assert!(
            text.lines().all(|l| l.is_empty() || l.starts_with('[') || l.ends_with("# default")),
            "{text}"
        );
    }

    #[test]
    fn every_value_is_shown_with_its_place() {
        let text =
            shown("[assess]\ntries = 5\n\n[[check]]\nname = 'net'\nkind = 'network'\nresolve = 'a \"b\"'\n");
        let comment = |key: &str| {
            let line = text.lines().find(|l| l.starts_with(key)).unwrap_or_else(|| panic!("{text}"));
            line.rsplit_once("# ").unwrap().1.to_owned()
        };
        assert_eq!(comment("tries = 5"), "/etc/abide/abide.toml:2");
        assert_eq!(comment("resolve = "), "/etc/abide/abide.toml:7");
        assert_eq!(comment("timeout = \"5s\""), "default");
    }

    #[test]
    fn the_shown_configuration_means_the_written_one() {
        let kinds = [
            "kind = 'system'\nallow_failed = ['a*']",
            "kind = 'unit'\nunits = 'a.service'",
            "kind = 'network'\ndefault_route = false",
            "kind = 'command'\ncommand = ['/bin/x', 'a\\b']",
            "kind = 'command'\ncommand = 'echo \"x\"'",
            "kind = 'http'\nurl = 'http://x'\nstatus = 200",
            "kind = 'process'\nprogram = 'x'",
            "kind = 'file'\npath = '/x'\nexists = false",
            "kind = 'mount'\npath = '/x'",
            "kind = 'disk'\npath = '/x'\nfree = '1G'",
            "kind = 'kernel'",
            "kind = 'clock'",
            "kind = 'confirm'\nwait = '5min'\nsilence = 'confirm'",
            "kind = 'system'\nenabled = false",
        ];
        let checks: String =
            kinds.iter().enumerate().map(|(n, keys)| format!("[[check]]\nname = 'c{n}'\n{keys}\n")).collect();
        let text = format!("[assess]\ndeadline = '1h'\n[report]\nurl = 'http://r'\n{checks}");
        assert_eq!(Config::parse("f", &shown(&text)).unwrap(), Config::parse("f", &text).unwrap());
    }

    #[test]
    fn the_shown_settings_of_updates_mean_the_written_ones() {
        let windows = "[[update.window]]\nstart = 02:00:00\nlength = '1h'\ndates = [2026-12-24]\n\
                       [[update.window]]\nname = 'night'\nstart = '22:00'\nlength = '9h'\ndays = ['sat']\n\
                       time_zone = 'Europe/Berlin'\nlatest_start = '1h'\n";
        for text in [
            "[update]\ninterval = '10min'\n".to_owned(),
            "[update]\nretry_failed = '4w'\n[update.inhibit]\nfiles = '/x'\n".to_owned(),
            format!("[update]\nfeed = '/srv'\n{windows}[update.fleetlock]\nurl = 'http://f'\n"),
            format!("[update.hawkbit]\nurl = 'http://h'\nattributes = {{ a = 'b', 'c d' = 'e' }}\n{windows}"),
        ] {
            assert_eq!(
                Config::parse("f", &shown(&text)).unwrap(),
                Config::parse("f", &text).unwrap(),
                "{text}"
            );
        }
        let text = shown(windows);
        assert!(text.contains("\n[[update.window]]\nname = \"night\" "), "{text}");
        assert!(text.contains("\n[update.inhibit]\n"), "{text}");
    }
}

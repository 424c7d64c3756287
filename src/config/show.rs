//! What is in force, and where each value comes from: the defaults written as a configuration, below
//! the files that were read.

use std::fmt::Write;

use serde_json::{Value as Json, json};

use super::tree::{DEFAULT, Node, Table, Tree, Value};
use crate::error::Result;

/// Every key that has a default. (A test compares it with the defaults in force.)
const DEFAULTS: &str = r#"
[assess]
test_window = "10min"
deadline = "20min"
on_failure = "rollback"
tries = 3
every_boot = false
[download]
give_up_after = "5min"
[report]
motd = true
[scripts]
enabled = true
timeout = "5min"
interval = "30s"
disabled = []
[write]
panic = "warn"
"#;

/// What every check has.
const CHECK: &str = r#"
enabled = true
required = true
timeout = "10s"
interval = "10s"
start_delay = "0s"
failures_allowed = 0
only_if_passed_before = false
"#;

/// What each kind of check has beside that, or instead.
const KINDS: [(&str, &str); 12] = [
    ("system", "allow_failed = []"),
    ("unit", "restarts_allowed = 0"),
    (
        "network",
        "timeout = '5s'\ninterfaces = []\nneed = 'any'\nfamily = 'any'\ndefault_route = true\n\
         gateway = true\nresolve = []\nconnect = []",
    ),
    ("command", "timeout = '30s'"),
    ("http", "method = 'GET'"),
    ("process", ""),
    ("file", "exists = true\nnewer_than_boot = false"),
    ("mount", "writable = false"),
    ("disk", "writable = true"),
    ("kernel", "taints = ['machine-check', 'bad-page', 'die', 'lockup']\nlog = true"),
    ("clock", ""),
    ("confirm", "silence = 'deny'"),
];

/// The keys of a check that are shown first.
const FIRST: [&str; 2] = ["name", "kind"];

/// One value that is in force.
struct Setting<'t> {
    table: &'t str,
    /// Of a `[[table]]`, the element's name.
    name: Option<&'t str>,
    key: &'t str,
    node: &'t Node,
}

/// `written` with the defaults below it.
///
/// # Errors
/// [`crate::error::Error::Usage`] never, for a configuration that was read without one.
pub fn in_force(written: Tree) -> Result<Tree> {
    let mut text = String::new();
    if !written.table.contains_key("check") {
        text.push_str("[[check]]\nname = 'system'\nkind = 'system'\n");
    }
    let mut all = Tree::parse(DEFAULT, &(DEFAULTS.to_owned() + &text))?;
    let mut below = vec![];
    for check in elements(&written, "check").chain(elements(&all, "check")) {
        below.push(Node { value: Value::Table(defaults_of(check)?), origin: super::tree::Origin::default() });
    }
    if !below.is_empty() {
        let node = Node { value: Value::List(below), origin: super::tree::Origin::default() };
        let mut checks = Tree { table: Table::from([("check".to_owned(), node)]) };
        checks.merge(all);
        all = checks;
    }
    all.merge(written);
    Ok(all)
}

fn defaults_of(check: &Table) -> Result<Table> {
    let kind = check.get("kind").and_then(text_of).unwrap_or_default();
    let own = KINDS.iter().find(|(known, _)| *known == kind).map_or("", |(_, text)| text);
    let mut tree = Tree::parse(DEFAULT, CHECK)?;
    tree.merge(Tree::parse(DEFAULT, own)?);
    // Only where there is a route has it a gateway.
    if check.get("default_route").is_some_and(|node| node.value == Value::Boolean(false)) {
        tree.table.remove("gateway");
    }
    tree.table.extend(check.get("name").map(|name| ("name".to_owned(), name.clone())));
    Ok(tree.table)
}

fn elements<'t>(tree: &'t Tree, key: &str) -> impl Iterator<Item = &'t Table> {
    let list = match tree.table.get(key).map(|node| &node.value) {
        Some(Value::List(list)) => list.as_slice(),
        _ => &[],
    };
    list.iter().filter_map(|node| if let Value::Table(table) = &node.value { Some(table) } else { None })
}

fn text_of(node: &Node) -> Option<&str> {
    if let Value::Text(text) = &node.value { Some(text) } else { None }
}

/// As TOML, with the file and line of each value in a comment.
#[must_use]
pub fn toml(tree: &Tree) -> String {
    let settings = settings(tree);
    let lines: Vec<String> =
        settings.iter().map(|s| format!("{} = {}", s.key, literal(&s.node.value))).collect();
    let width = lines.iter().map(|l| l.chars().count()).filter(|w| *w <= 44).max().unwrap_or(0);
    let mut out = String::new();
    let mut last = None;
    for (setting, line) in settings.iter().zip(&lines) {
        let place = (setting.table, setting.name);
        if last.replace(place) != Some(place) {
            let gap = if out.is_empty() { "" } else { "\n" };
            // Writing to a text never fails.
            match setting.name {
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
            json!({"table": s.table, "name": s.name, "key": s.key, "value": value(&s.node.value), "from": from})
        })
        .collect();
    json!({"schema": 1, "settings": list})
}

fn settings(tree: &Tree) -> Vec<Setting<'_>> {
    let mut all = vec![];
    for (table, node) in &tree.table {
        match &node.value {
            Value::Table(keys) => {
                all.extend(keys.iter().map(|(key, node)| Setting { table, name: None, key, node }))
            }
            Value::List(list) => {
                for keys in
                    list.iter().filter_map(|n| if let Value::Table(t) = &n.value { Some(t) } else { None })
                {
                    let name = keys.get("name").and_then(text_of);
                    let mut of_one: Vec<Setting<'_>> =
                        keys.iter().map(|(key, node)| Setting { table, name, key, node }).collect();
                    of_one.sort_by_key(|s| FIRST.iter().position(|f| *f == s.key).unwrap_or(FIRST.len()));
                    all.extend(of_one);
                }
            }
            _ => {}
        }
    }
    all
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
fn literal(value: &Value) -> String {
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
    fn every_value_has_its_place() {
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
    fn what_is_shown_means_what_was_written() {
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

    /// A new key, or a new table, must be listed here or have its default above.
    #[test]
    fn no_key_is_left_out() {
        let tables = [
            ("assess", ""),
            ("download", "rate_limit ca"),
            ("report", "url ca metrics"),
            ("scripts", ""),
            ("trust", "policy image_id"),
            ("slots", "a b"),
            ("write", ""),
        ];
        let known = |text: &str| -> Vec<String> {
            let error = Config::parse("f", text).unwrap_err().to_string();
            let list = error.split("known are: ").nth(1).unwrap_or_else(|| panic!("{error}"));
            list.split(", ").map(str::to_owned).collect()
        };
        let defaults = Tree::parse("f", DEFAULTS).unwrap();
        for table in known("no_such_table_at_all = 1").iter().filter(|t| *t != "check") {
            let (_, optional) =
                tables.iter().find(|(t, _)| t == table).unwrap_or_else(|| panic!("[{table}]"));
            if table == "slots" {
                continue;
            }
            for key in known(&format!("[{table}]\nno_such_key_at_all = 1\n")) {
                let has_default = match defaults.table.get(table).map(|node| &node.value) {
                    Some(Value::Table(keys)) => keys.contains_key(&key),
                    _ => false,
                };
                assert!(has_default || optional.split(' ').any(|o| o == key), "[{table}] {key}");
            }
        }
    }
}

//! What is in force, and where each value comes from: the defaults written as a configuration, below
//! the files that were read.

use std::fmt::Write;

use serde_json::{Value as Json, json};

use abide_core::config::tree::{DEFAULT, Node, Origin, Table, Tree, Value};
use abide_core::error::Result;

/// Every key that has a default. (A test compares it with the defaults in force.)
const DEFAULTS: &str = r#"
[assess]
test_window = "10min"
deadline = "20min"
on_failure = "rollback"
tries = 3
every_boot = false
rearm = false
[download]
give_up_after = "5min"
[report]
motd = true
[scripts]
enabled = true
timeout = "5min"
interval = "30s"
disabled = []
[update]
interval = "1h"
jitter = "1h"
target = "latest"
channel = "stable"
retry_failed = "never"
retry_failed_max = "2w"
download_spread = "1h"
[update.inhibit]
systemd = true
files = []
locks = []
longest = "1w"
[write]
panic = "warn"
"#;

/// What the parts of `[update]` have that are not there unless they are written.
const PARTS_OF_UPDATE: [(&str, &str); 3] = [
    ("window", "days = ['mon', 'tue', 'wed', 'thu', 'fri', 'sat', 'sun']\ntime_zone = 'UTC'"),
    ("hawkbit", "tenant = 'DEFAULT'\npart = 'os'\nconfirm = 'policy'\nforced = 'window'"),
    ("fleetlock", "group = 'default'\npatience = '1d'\nif_away = 'stay'"),
];

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
    /// With those that it is part of: `update.window`.
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
/// [`abide_core::error::Error::Usage`] never, for a configuration that was read without one.
pub fn in_force(written: Tree) -> Result<Tree> {
    let mut text = String::new();
    if !written.table.contains_key("check") {
        text.push_str("[[check]]\nname = 'system'\nkind = 'system'\n");
    }
    let mut all = Tree::parse(DEFAULT, &(DEFAULTS.to_owned() + &text))?;
    let mut below = vec![];
    for check in elements(&written, "check").chain(elements(&all, "check")) {
        below.push(Node { value: Value::Table(defaults_of(check)?), origin: Origin::default() });
    }
    if !below.is_empty() {
        let node = Node { value: Value::List(below), origin: Origin::default() };
        let mut checks = Tree { table: Table::from([("check".to_owned(), node)]) };
        checks.merge(all);
        all = checks;
    }
    all.merge(written);
    if let Some(Node { value: Value::Table(update), .. }) = all.table.get_mut("update") {
        fill_update(update)?;
    }
    Ok(all)
}

/// The defaults of what is part of `[update]`, and the one that follows another key.
fn fill_update(update: &mut Table) -> Result<()> {
    let interval = update.get("interval").map(|node| node.value.clone());
    if let (Some(jitter), Some(interval)) = (update.get_mut("jitter"), interval)
        && jitter.origin.to_string() == DEFAULT
    {
        jitter.value = interval;
    }
    for (part, defaults) in PARTS_OF_UPDATE {
        let defaults = Tree::parse(DEFAULT, defaults)?.table;
        match update.get_mut(part).map(|node| &mut node.value) {
            Some(Value::Table(table)) => fill(table, &defaults),
            Some(Value::List(list)) => list.iter_mut().for_each(|element| {
                if let Value::Table(table) = &mut element.value {
                    fill(table, &defaults);
                }
            }),
            _ => {}
        }
    }
    Ok(())
}

fn fill(table: &mut Table, defaults: &Table) {
    for (key, node) in defaults {
        // A window on single days alone opens on no others.
        if !(key == "days" && table.contains_key("dates")) {
            table.entry(key.clone()).or_insert_with(|| node.clone());
        }
    }
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

/// As TOML has it: in quotes, if it is not bare.
fn key(key: &str) -> String {
    let is_bare = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    match !key.is_empty() && key.chars().all(is_bare) {
        true => key.to_owned(),
        false => literal(&Value::Text(key.to_owned())),
    }
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

fn settings(tree: &Tree) -> Vec<Setting<'_>> {
    let mut all = vec![];
    add_parts("", &tree.table, &mut all);
    all
}

/// Adds the tables in `table`, which is called `path`.
fn add_parts<'t>(path: &str, table: &'t Table, all: &mut Vec<Setting<'t>>) {
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
fn add_table<'t>(path: &str, element: Option<usize>, keys: &'t Table, all: &mut Vec<Setting<'t>>) {
    let name = element.and_then(|_| keys.get("name").and_then(text_of));
    let plain = keys.iter().filter(|(_, node)| !is_part(&node.value));
    let mut own: Vec<Setting<'_>> =
        plain.map(|(key, node)| Setting { table: path.to_owned(), element, name, key, node }).collect();
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

    #[test]
    fn what_is_shown_of_updates_means_what_was_written() {
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

    /// A new key, or a new table, must be listed here or have its default above.
    #[test]
    fn no_key_is_left_out() {
        let window = "start = '02:00'\nlength = '1h'\n";
        // Table, the keys that it must have, those without a default, and the tables in it.
        let tables = [
            ("[assess]", "", "", ""),
            ("[download]", "", "rate_limit ca", ""),
            ("[report]", "", "url ca metrics", ""),
            ("[scripts]", "", "", ""),
            ("[trust]", "", "policy image_id", ""),
            ("[slots]", "a = 'x'\nb = 'y'\n", "a b", ""),
            ("[update]", "", "feed min_version floor rate_limit", "inhibit window hawkbit fleetlock"),
            ("[update.inhibit]", "", "", ""),
            ("[[update.window]]", window, "name dates start length latest_start", ""),
            ("[update.hawkbit]", "url = 'http://h'\n", "url id token gateway_token ca attributes", ""),
            ("[update.fleetlock]", "url = 'http://f'\n", "url id ca", ""),
            ("[write]", "", "", ""),
        ];
        let known = |text: &str| -> Vec<String> {
            let error = Config::parse("f", text).unwrap_err().to_string();
            let list = error.split("known are: ").nth(1).unwrap_or_else(|| panic!("{error}"));
            list.split(", ").map(str::to_owned).collect()
        };
        let top: Vec<String> =
            known("no_such_table_at_all = 1").into_iter().filter(|table| table != "check").collect();
        let listed = |name: &str| tables.iter().any(|(t, ..)| t.trim_matches(['[', ']']) == name);
        assert!(top.iter().all(|table| listed(table)), "{top:?}");
        for (table, needed, optional, parts) in tables {
            let text = format!("{table}\n{needed}");
            let defaults = shown(&text);
            let own = defaults.split("\n\n").find(|part| part.starts_with(table)).unwrap_or_default();
            for key in known(&format!("{text}no_such_key_at_all = 1\n")) {
                let has_default = own.lines().any(|line| line.starts_with(&format!("{key} = ")));
                let is = |list: &str| list.split(' ').any(|o| o == key);
                let name = table.trim_matches(['[', ']']);
                assert!(
                    has_default || is(optional) || is(parts) && listed(&format!("{name}.{key}")),
                    "{table} {key}"
                );
            }
        }
    }
}

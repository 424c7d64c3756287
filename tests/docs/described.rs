//! Everything that a user can type or read is described in the reference.

use std::collections::BTreeSet;
use std::fs;

use abide::config::Config;
use abide_testing::Tree;
use serde_json::Value;

use crate::{blocks, page, pages, short, top};

const COMMANDS: &str = "docs/reference/commands.md";
const CONFIGURATION: &str = "docs/reference/configuration.md";
const JSON: &str = "docs/reference/json.md";

#[test]
fn every_command_and_every_option_is_described() {
    let text = page(COMMANDS);
    for name in commands() {
        assert!(text.contains(&format!("| `{name}")), "{COMMANDS}: no row for `{name}`");
        let section = section(&text, &format!("## {name}\n"));
        let general = self::section(&text, "## Options of every command\n");
        let help = Tree::running("1.0").abide(&[&name, "--help"]).ok().stdout;
        // `  -v, --verbose...  Text` or, in the long form, the option alone.
        let lines = help.lines().map(str::trim).filter(|line| line.starts_with('-'));
        for option in lines.flat_map(str::split_whitespace).filter(|word| word.starts_with("--")) {
            let option = option.trim_end_matches("...");
            let described = section.contains(option) || general.contains(option);
            assert!(described, "{COMMANDS}: no {option} of `{name}`");
        }
    }
}

/// The commands that `abide --help` lists.
fn commands() -> Vec<String> {
    let help = Tree::running("1.0").abide(&["--help"]).ok().stdout;
    let commands = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let names =
        commands.take_while(|line| !line.is_empty()).filter_map(|line| line.split_whitespace().next());
    names.filter(|name| *name != "help").map(str::to_owned).collect()
}

/// A page from a heading to the next one of its level.
fn section<'t>(text: &'t str, heading: &str) -> &'t str {
    let (_, rest) = text.split_once(heading).unwrap_or_else(|| panic!("no heading {heading:?}"));
    rest.split("\n## ").next().unwrap()
}

/// What a table must hold before an unknown key in it is reported.
const NEEDED: [(&str, &str); 5] = [
    ("slots", "a = 'x'\nb = 'y'"),
    ("update.window", "start = '02:00'\nlength = '2h'"),
    ("update.hawkbit", "url = 'https://x'\ntoken = '/etc/x'"),
    ("update.fleetlock", "url = 'https://x'"),
    ("check", "name = 'x'\nkind = 'system'"),
];

#[test]
fn every_table_of_the_configuration_and_every_key_in_it_is_described() {
    let tables = tables(&page(CONFIGURATION));
    for table in tables.iter().chain([&Table::default()]) {
        let inner = |other: &&Table| {
            other.name.rsplit_once('.').map_or("", |(outer, _)| outer) == table.name
                && other.name != table.name
        };
        let last = |other: &Table| other.name.rsplit('.').next().unwrap_or_default().to_owned();
        let mut described: BTreeSet<String> = table.keys.iter().cloned().collect();
        described.extend(tables.iter().filter(inner).map(last));
        let mut known = known_keys(table);
        if table.name == "check" {
            // Of a kind, and described with that; tests/config.rs looks at each.
            known.retain(|key| key != "allow_failed");
        }
        assert_eq!(described, known, "{CONFIGURATION}: [{}]", table.name);
    }
}

/// A table as the page describes it.
#[derive(Default)]
struct Table {
    name: String,
    list: bool,
    keys: Vec<String>,
}

/// The tables of the page: a heading with `[name]` or `[[name]]`, and rows that begin with a key.
fn tables(text: &str) -> Vec<Table> {
    let mut tables: Vec<Table> = vec![];
    let mut open = false;
    for line in text.lines() {
        if line.starts_with("##") {
            let title = line.trim_start_matches('#').trim().trim_start_matches('`');
            let list = title.starts_with("[[");
            let name = title.trim_start_matches('[').split(']').next().unwrap_or_default().to_owned();
            open = title.starts_with('[');
            if open {
                tables.push(Table { name, list, keys: vec![] });
            }
        } else if let Some(row) = line.strip_prefix("| `").filter(|_| open) {
            tables.last_mut().unwrap().keys.push(row.split('`').next().unwrap_or_default().to_owned());
        }
    }
    tables
}

/// The keys that the configuration's reader knows, as its message about an unknown one lists them.
fn known_keys(table: &Table) -> BTreeSet<String> {
    let needed = NEEDED.iter().find(|(name, _)| *name == table.name).map_or("", |(_, needed)| needed);
    let heading = match (table.name.as_str(), table.list) {
        ("", _) => String::new(),
        (name, true) => format!("[[{name}]]\n"),
        (name, false) => format!("[{name}]\n"),
    };
    let error = Config::parse("f", &format!("{heading}{needed}\nno_such_key = 1\n")).unwrap_err().to_string();
    let known = error.split("known are: ").nth(1).unwrap_or_else(|| panic!("[{}]: {error}", table.name));
    known.split(", ").map(str::to_owned).collect()
}

#[test]
fn every_field_of_the_json_output_is_described() {
    let described = fields(&page(JSON));
    let mut tree = Tree::running("1.0");
    tree.update("2.0", "b");
    tree.stage("3.0", "a");
    tree.abide(&["apply"]).ok();
    tree.boot_with_initrd("3.0");
    tree.abide(&["rollback"]).ok();
    tree.boot_with_initrd("2.0");
    let answers = ["status", "list", "check", "doctor", "config"].map(|command| {
        serde_json::from_str(&tree.abide(&[command, "--json"]).stdout)
            .unwrap_or_else(|e| panic!("{command}: {e}"))
    });
    let mut seen = BTreeSet::new();
    answers.iter().for_each(|answer: &Value| collect(answer, "", &mut seen));
    seen.remove("schema");
    for field in &seen {
        assert!(described.contains(field), "{JSON}: no field {field}");
    }
    assert!(seen.contains("failures[].reason") && seen.contains("settings[].from"), "{seen:?}");
}

/// The paths of all values that are neither an object nor a list.
fn collect(value: &Value, path: &str, to: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                collect(value, &path, to);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, &format!("{path}[]"), to)),
        _ => {
            to.insert(path.to_owned());
        }
    }
}

/// The fields that a page's tables describe. `.x` behind a name stands for a field beside it.
fn fields(text: &str) -> BTreeSet<String> {
    let mut fields = BTreeSet::new();
    for line in text.lines().filter(|line| line.starts_with("| `")) {
        let cell = line.trim_start_matches("| ").split(" | ").next().unwrap_or_default();
        let mut folder = String::new();
        for name in cell.split(", ").map(|name| name.trim_matches('`')) {
            let full = if name.starts_with('.') { format!("{folder}{name}") } else { name.to_owned() };
            folder = full.rsplit_once('.').map_or(String::new(), |(folder, _)| folder.to_owned());
            fields.insert(full.trim_end_matches("[]").to_owned());
        }
    }
    fields
}

#[test]
fn every_message_id_is_described() {
    let text = page("docs/reference/events.md");
    let sources = ["src/events", "src/assess"].map(|folder| crate::files(&top().join(folder)));
    let mut count = 0;
    for source in sources.iter().flatten().map(|file| fs::read_to_string(file).unwrap()) {
        for id in source.split('"').filter(|t| t.len() == 32 && t.chars().all(|c| c.is_ascii_hexdigit())) {
            assert!(text.contains(id), "events.md does not describe {id}");
            count += 1;
        }
    }
    assert!(count >= 9, "only {count} found");
}

#[test]
fn every_unit_is_described() {
    let text = page("docs/reference/units.md");
    for unit in ["systemd-units", "dracut-module"].iter().flat_map(|folder| crate::files(&top().join(folder)))
    {
        let name = unit.file_name().unwrap().to_string_lossy().into_owned();
        if [".service", ".timer"].iter().any(|end| name.ends_with(end)) {
            assert!(text.contains(&format!("| `{name}`")), "units.md does not describe {name}");
        }
    }
}

#[test]
fn every_target_of_make_that_a_page_names_exists() {
    let makefile = page("Makefile");
    let targets = makefile.lines().find_map(|line| line.strip_prefix(".PHONY: ")).unwrap();
    let targets: Vec<&str> = targets.split_whitespace().collect();
    for page in pages() {
        let lines =
            blocks(&page).into_iter().filter(|block| block.info == "sh").flat_map(|block| block.lines);
        for line in lines.filter(|line| line.starts_with("make ")) {
            let target = line.split_whitespace().nth(1).unwrap_or_default();
            assert!(target == "#" || targets.contains(&target), "{}: {line}", short(&page));
        }
    }
}

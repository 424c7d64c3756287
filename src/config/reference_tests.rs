//! The reference page and the example file, generated from the tables of settings and compared with the files.
//!
//! `ABIDE_WRITE_DOCS=1 cargo test -p abide --lib reference` writes them. The text around the tables of the page, and
//! the first paragraph of the example, are written by hand and kept.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::fmt::Write;
use std::fs;
use std::path::Path;

use abide_core::config::BootConfig;

use crate::config::described::DescribedSettings;
use crate::config::kinds::check_kind;
use crate::config::setting::Setting;
use crate::config::show::literal;
use crate::config::{Config, ProductConfig};

const PAGE: &str = "docs/reference/configuration.md";
const EXAMPLE: &str = "packaging/abide.toml.example";

/// A table of the configuration.
struct Described {
    /// As it is written: `[update]`, `[[check]]`.
    header: String,
    help: &'static str,
    keys: Vec<Setting>,
}

#[test]
fn the_reference_page_lists_every_setting_as_it_is() {
    compare(PAGE, page);
}

#[test]
fn the_example_file_lists_every_setting_as_it_is() {
    compare(EXAMPLE, |text| {
        let (intro, _) = text.split_once("\n\n").unwrap();
        format!("{intro}\n\n{}", blocks().join("\n"))
    });
}

#[test]
fn the_example_file_changes_nothing_and_each_of_its_tables_is_understood() {
    let text = read(EXAMPLE);
    assert_eq!(Config::parse("example", &text).unwrap(), Config::default());
    for block in blocks() {
        Config::parse("example", &uncommented(&block)).unwrap_or_else(|e| panic!("{e}\n{block}"));
    }
    // Instead of a feed.
    let rest = blocks().into_iter().filter(|block| !block.contains("[update.hawkbit]"));
    let all = Config::parse("example", &rest.map(|block| uncommented(&block)).collect::<String>()).unwrap();
    assert_eq!((all.assess, all.scripts, all.write), {
        let default = Config::default();
        (default.assess, default.scripts, default.write)
    });
    assert_eq!(all.checks.len(), check_kind::kinds().len());
}

/// Compares a file with what `generate` makes of it, or writes that.
fn compare(file: &str, generate: impl Fn(&str) -> String) {
    let text = read(file);
    let generated = generate(&text);
    if std::env::var_os("ABIDE_WRITE_DOCS").is_some() {
        return fs::write(top().join(file), generated).unwrap();
    }
    for (n, (written, line)) in text.lines().zip(generated.lines()).enumerate() {
        assert_eq!(
            written,
            line,
            "{file}:{}: run ABIDE_WRITE_DOCS=1 cargo test -p abide --lib reference",
            n + 1
        );
    }
    assert_eq!(text, generated);
}

fn read(file: &str) -> String {
    fs::read_to_string(top().join(file)).unwrap()
}

fn top() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All tables, in the order of the code; a table comes before those in it.
fn tables() -> Vec<Described> {
    let mut all = vec![];
    add_tables("", &[BootConfig::KEYS, ProductConfig::KEYS].concat(), &mut all);
    all
}

fn add_tables(path: &str, keys: &[Setting], all: &mut Vec<Described>) {
    for setting in keys {
        let Some(nested) = (setting.table)() else { continue };
        let path = if path.is_empty() { setting.key.to_owned() } else { format!("{path}.{}", setting.key) };
        let header = if nested.repeated { format!("[[{path}]]") } else { format!("[{path}]") };
        all.push(Described { header, help: setting.help.trim(), keys: nested.keys.clone() });
        add_tables(&path, &nested.keys, all);
    }
}

/// `text` with the table below the heading of each table of settings, and of each kind of check, generated again.
fn page(text: &str) -> String {
    let tables = tables().into_iter().map(|table| (table.header, table.keys));
    let kinds =
        check_kind::kinds().into_iter().map(|(word, keys)| (format!("kind = \"{word}\""), keys.to_vec()));
    tables.chain(kinds).fold(text.to_owned(), |text, (heading, keys)| {
        let is_heading = |line: &&str| line.starts_with('#') && line.contains(&format!("`{heading}`"));
        let heading =
            text.lines().find(is_heading).unwrap_or_else(|| panic!("{PAGE}: no heading `{heading}`"));
        let (before, after) = text.split_once(&format!("{heading}\n")).unwrap();
        let section = after.split("\n#").next().unwrap();
        let start = section.find("| key |").unwrap_or_else(|| panic!("{PAGE}: no table below {heading}"));
        let (prose, table) = after.split_at(start);
        let rest = table.split_once("\n\n").map_or("", |(_, rest)| rest);
        format!("{before}{heading}\n{prose}{}\n{rest}", markdown(&keys))
    })
}

fn markdown(keys: &[Setting]) -> String {
    let mut table = "| key | type | default | meaning |\n| --- | --- | --- | --- |\n".to_owned();
    for setting in keys.iter().filter(|setting| (setting.table)().is_none()) {
        let cells =
            [format!("`{}`", setting.key), (setting.form)(), default(setting), setting.help.trim().into()];
        writeln!(table, "| {} |", cells.map(|cell| cell.replace('|', "\\|")).join(" | ")).unwrap();
    }
    table
}

/// The value that applies if the key is missing.
fn default(setting: &Setting) -> String {
    match (setting.otherwise, value_of_default(setting)) {
        (Some(otherwise), _) => otherwise.into(),
        (None, Some(value)) => format!("`{value}`"),
        (None, None) if setting.required => "required".into(),
        (None, None) => "none".into(),
    }
}

fn value_of_default(setting: &Setting) -> Option<String> {
    setting.default.and_then(|default| default()).map(|value| literal(&value))
}

/// The example file by tables; of the checks one for each kind.
fn blocks() -> Vec<String> {
    let kinds = check_kind::kinds();
    let block = |table: Described| {
        let mut lines = vec![(table.header.clone(), None)];
        lines.extend(table.keys.iter().filter_map(line));
        if table.header != "[[check]]" {
            return vec![commented(table.help, &lines)];
        }
        let of_kind = |(n, (word, keys)): (usize, &(&str, &[Setting]))| {
            let own = keys.iter().filter_map(line);
            if n == 0 {
                return commented(table.help, &lines.iter().cloned().chain(own).collect::<Vec<_>>());
            }
            let head = [("[[check]]", ""), ("name", word), ("kind", word)].map(|(key, value)| {
                (if value.is_empty() { key.to_owned() } else { format!("{key} = \"{value}\"") }, None)
            });
            commented("", &head.into_iter().chain(own).collect::<Vec<_>>())
        };
        kinds.iter().enumerate().map(of_kind).collect()
    };
    tables().into_iter().flat_map(block).collect()
}

/// A line of the example file, and what it means. None for a table, which has a block of its own.
fn line(setting: &Setting) -> Option<(String, Option<String>)> {
    if (setting.table)().is_some() {
        return None;
    }
    let otherwise = setting.otherwise.map(|otherwise| format!("; otherwise {otherwise}")).unwrap_or_default();
    let help = format!("{} ({}{otherwise})", setting.help.trim(), (setting.form)()).replace('`', "");
    let value = value_of_default(setting).or_else(|| setting.example.map(str::to_owned));
    // A key that excludes another one has no value, so that both cannot be uncommented by mistake.
    let line =
        value.map_or_else(|| format!(" {} = …", setting.key), |value| format!("{} = {value}", setting.key));
    Some((line, Some(help)))
}

fn commented(help: &str, lines: &[(String, Option<String>)]) -> String {
    let mut block = wrapped(help);
    for (line, help) in lines {
        writeln!(block, "{}#{line}", wrapped(help.as_deref().unwrap_or_default())).unwrap();
    }
    block
}

/// A comment of lines that are not too long.
fn wrapped(text: &str) -> String {
    let mut lines: Vec<String> = vec![];
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + word.chars().count() < 98 => {
                write!(line, " {word}").unwrap()
            }
            _ => lines.push(format!("# {word}")),
        }
    }
    lines.iter().map(|line| format!("{line}\n")).collect()
}

fn uncommented(block: &str) -> String {
    let lines = block.lines().filter_map(|line| line.strip_prefix('#')).filter(|line| !line.starts_with(' '));
    lines.map(|line| format!("{line}\n")).collect()
}

//! A configuration as written: values with the file and line that each came from, and the merge.

use std::collections::BTreeMap;
use std::fmt;
use std::rc::Rc;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::error::{Error, Result};

/// The origin of a value that is not in any file.
pub const DEFAULT: &str = "default";

/// Where a value was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    file: Rc<str>,
    line: usize,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.file {
            DEFAULT => f.write_str(DEFAULT),
            file => write!(f, "{file}:{}", self.line),
        }
    }
}

impl Default for Origin {
    /// The origin of a default.
    fn default() -> Self {
        Self { file: DEFAULT.into(), line: 0 }
    }
}

/// A value and its origin.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// What was written.
    pub value: Value,
    /// Where.
    pub origin: Origin,
}

/// The kinds of value that Abide's configuration uses. Times and dates are texts.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// `"text"`, and TOML's dates and times as they were written.
    Text(String),
    /// `12`
    Integer(i64),
    /// `1.5`
    Float(f64),
    /// `true`
    Boolean(bool),
    /// `["a", "b"]` and `[[table]]`
    List(Vec<Node>),
    /// `[table]`
    Table(Table),
}

/// Keys and their values.
pub type Table = BTreeMap<String, Node>;

/// One file, or several merged.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Tree {
    /// The top-level keys.
    pub table: Table,
}

impl Tree {
    /// Reads TOML; `file` is its name in errors.
    ///
    /// # Errors
    /// [`Error::Usage`] with file and line if it is not TOML.
    pub fn parse(file: &str, text: &str) -> Result<Self> {
        let newlines = text.bytes().enumerate().filter(|(_, b)| *b == b'\n').map(|(at, _)| at).collect();
        let source = Source { file: file.into(), newlines };
        let document = DeTable::parse(text).map_err(|e| {
            let line = source.origin(e.span().map_or(0, |s| s.start));
            Error::Usage(format!("{line}: {}", e.message()))
        })?;
        Ok(Self { table: source.table(document.into_inner())? })
    }

    /// Lays `over` on top: tables are merged key by key, lists of tables by the key `name` (a new
    /// name is appended), anything else is replaced.
    pub fn merge(&mut self, over: Self) {
        merge_tables(&mut self.table, over.table);
    }
}

struct Source {
    file: Rc<str>,
    /// Where the lines end.
    newlines: Vec<usize>,
}

impl Source {
    fn origin(&self, offset: usize) -> Origin {
        let before = self.newlines.partition_point(|at| *at < offset);
        Origin { file: Rc::clone(&self.file), line: before + 1 }
    }

    fn table(&self, table: DeTable<'_>) -> Result<Table> {
        table
            .into_iter()
            .map(|(key, value)| {
                // The key's line, not the value's: that is where a reader looks for it.
                let origin = self.origin(key.span().start);
                let value = self.value(value.into_inner(), &origin)?;
                Ok((key.into_inner().into_owned(), Node { value, origin }))
            })
            .collect()
    }

    fn value(&self, value: DeValue<'_>, origin: &Origin) -> Result<Value> {
        Ok(match value {
            DeValue::String(s) => Value::Text(s.into_owned()),
            DeValue::Integer(i) => Value::Integer(
                i64::from_str_radix(i.as_str(), i.radix())
                    .map_err(|_| Error::Usage(format!("{origin}: the number {i} is out of range")))?,
            ),
            DeValue::Float(f) => Value::Float(
                f.as_str()
                    .parse()
                    .map_err(|_| Error::Usage(format!("{origin}: {} is not a number", f.as_str())))?,
            ),
            DeValue::Boolean(b) => Value::Boolean(b),
            DeValue::Datetime(d) => Value::Text(d.to_string()),
            DeValue::Array(array) => {
                Value::List(array.into_iter().map(|element| self.element(element)).collect::<Result<_>>()?)
            }
            DeValue::Table(table) => Value::Table(self.table(table)?),
        })
    }

    fn element(&self, element: Spanned<DeValue<'_>>) -> Result<Node> {
        let origin = self.origin(element.span().start);
        Ok(Node { value: self.value(element.into_inner(), &origin)?, origin })
    }
}

fn merge_tables(base: &mut Table, over: Table) {
    for (key, node) in over {
        match base.get_mut(&key) {
            Some(old) => merge_nodes(old, node),
            None => {
                base.insert(key, node);
            }
        }
    }
}

fn merge_nodes(base: &mut Node, over: Node) {
    match (&mut base.value, over.value) {
        (Value::Table(old), Value::Table(new)) => merge_tables(old, new),
        (Value::List(old), Value::List(new)) if holds_tables(old) && holds_tables(&new) => {
            merge_lists(old, new);
        }
        (old, new) => {
            *old = new;
            base.origin = over.origin;
        }
    }
}

fn merge_lists(base: &mut Vec<Node>, over: Vec<Node>) {
    for node in over {
        match base.iter_mut().find(|old| name_of(old).is_some() && name_of(old) == name_of(&node)) {
            Some(old) => merge_nodes(old, node),
            None => base.push(node),
        }
    }
}

fn holds_tables(list: &[Node]) -> bool {
    list.iter().all(|node| matches!(node.value, Value::Table(_)))
}

fn name_of(node: &Node) -> Option<&str> {
    let Value::Table(table) = &node.value else { return None };
    match table.get("name").map(|name| &name.value) {
        Some(Value::Text(name)) => Some(name),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;

    fn tree(text: &str) -> Tree {
        Tree::parse("f.toml", text).unwrap()
    }

    #[test]
    fn text_that_is_not_toml_is_refused_with_its_line() {
        let error = Tree::parse("f.toml", "a = 1\nb = = 2\n").unwrap_err().to_string();
        assert!(error.starts_with("f.toml:2: "), "{error}");
    }

    #[test]
    fn a_later_file_changes_single_keys_of_a_table() {
        let mut base = tree("[assess]\na = 1\nb = 2\n");
        base.merge(tree("[assess]\nb = 3\n"));
        let Value::Table(assess) = &base.table.get("assess").unwrap().value else { panic!() };
        assert_eq!(assess.get("a").unwrap().value, Value::Integer(1));
        assert_eq!(assess.get("b").unwrap().value, Value::Integer(3));
    }

    #[test]
    fn tables_of_a_list_are_merged_by_name_and_new_names_are_appended() {
        let mut base = tree("[[c]]\nname = 'x'\nv = 1\nw = 1\n[[c]]\nname = 'y'\n");
        base.merge(tree("[[c]]\nname = 'z'\n[[c]]\nname = 'x'\nv = 2\n"));
        let Value::List(list) = &base.table.get("c").unwrap().value else { panic!() };
        assert_eq!(list.iter().filter_map(name_of).collect::<Vec<_>>(), ["x", "y", "z"]);
        let Value::Table(x) = &list.first().unwrap().value else { panic!() };
        assert_eq!(x.get("v").unwrap().value, Value::Integer(2));
        assert_eq!(x.get("w").unwrap().value, Value::Integer(1));
    }

    #[test]
    fn a_plain_list_is_replaced() {
        let mut base = tree("l = ['a', 'b']\n");
        base.merge(tree("l = ['c']\n"));
        let Value::List(list) = &base.table.get("l").unwrap().value else { panic!() };
        assert_eq!(list.len(), 1);
    }

    #[test]
    fn a_key_knows_its_line_in_every_kind_of_table() {
        let t = tree("[[c]]\nname = 'x'\n\n[[c]]\nname = 'y'\nv = 1\n");
        let Value::List(list) = &t.table.get("c").unwrap().value else { panic!() };
        let Value::Table(y) = &list.last().unwrap().value else { panic!() };
        assert_eq!(y.get("v").unwrap().origin.to_string(), "f.toml:6");
        assert_eq!(list.last().unwrap().origin.to_string(), "f.toml:4");
    }
}

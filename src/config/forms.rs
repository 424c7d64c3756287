//! Forms of values in addition to those of the core: sizes, paths, URLs, lists, repeated tables.

use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::path::PathBuf;
use std::time::Duration;

use abide_core::config::form::{Span, Text, TextRule};
use abide_core::config::section::{Form, Section, Settings, wrong};
use abide_core::config::tree::{Node, Origin, Table, Value};
use abide_core::error::Result;

use crate::config::described::{DescribedForm, DescribedSettings, DescribedText};
use crate::config::setting::Nested;
use crate::config::size;

/// A text that is not empty.
#[derive(Debug)]
pub struct NotEmpty;

impl TextRule for NotEmpty {
    fn problem(text: &str) -> Option<String> {
        text.is_empty().then(|| "must not be empty".into())
    }
}

impl DescribedText for NotEmpty {
    const NAME: &'static str = "text";
}

/// A shell pattern: `*`, `?`, `[…]`.
#[derive(Debug)]
pub struct Pattern;

impl TextRule for Pattern {
    fn problem(_: &str) -> Option<String> {
        None
    }
}

impl DescribedText for Pattern {
    const NAME: &'static str = "pattern";
}

/// An absolute path.
#[derive(Debug)]
pub struct AbsolutePath;

impl TextRule for AbsolutePath {
    fn problem(text: &str) -> Option<String> {
        (!text.starts_with('/')).then(|| format!("'{text}' is not an absolute path"))
    }
}

impl DescribedText for AbsolutePath {
    const NAME: &'static str = "path";
}

/// The URL of a web server.
#[derive(Debug)]
pub struct Url;

impl TextRule for Url {
    fn problem(text: &str) -> Option<String> {
        let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
        match rest {
            None => Some("must begin with http:// or https://".into()),
            Some("") => Some("must name a server".into()),
            Some(_) => None,
        }
    }
}

impl DescribedText for Url {
    const NAME: &'static str = "URL";
}

/// A folder: an absolute path, or the URL of one.
#[derive(Debug)]
pub struct Folder;

impl TextRule for Folder {
    fn problem(text: &str) -> Option<String> {
        let problem = AbsolutePath::problem(text).and_then(|_| Url::problem(text));
        problem.map(|_| "must be an absolute path, or begin with http:// or https://".into())
    }
}

impl DescribedText for Folder {
    const NAME: &'static str = "path or URL";
}

/// An absolute path, for what takes a `PathBuf`.
#[derive(Debug)]
pub struct FilePath;

impl Form for FilePath {
    type Value = PathBuf;

    fn read(section: &Section<'_>, key: &str, node: &Node) -> Result<PathBuf> {
        AbsolutePath::read(section, key, node).map(PathBuf::from)
    }
}

impl DescribedForm for FilePath {
    fn write(value: &PathBuf) -> Option<Value> {
        Some(Value::Text(value.display().to_string()))
    }

    fn described() -> String {
        AbsolutePath::described()
    }
}

/// A span of time that is longer than zero.
#[derive(Debug)]
pub struct Limit;

impl Form for Limit {
    type Value = Duration;

    fn read(section: &Section<'_>, key: &str, node: &Node) -> Result<Duration> {
        let span = Span::<0>::read(section, key, node)?;
        if span.is_zero() { Err(wrong(node, key, "more than 0")) } else { Ok(span) }
    }
}

impl DescribedForm for Limit {
    fn write(value: &Duration) -> Option<Value> {
        Span::<0>::write(value)
    }

    fn described() -> String {
        "time, more than 0".into()
    }
}

/// A number of bytes, or of another unit, with systemd's suffixes.
#[derive(Debug)]
pub struct Size;

impl Form for Size {
    type Value = u64;

    fn read(_: &Section<'_>, key: &str, node: &Node) -> Result<u64> {
        match &node.value {
            Value::Text(text) => size::parse(text).map_err(|problem| wrong(node, key, &problem)),
            Value::Integer(n) => {
                u64::try_from(*n).map_err(|_| wrong(node, key, "a size, not a negative number"))
            }
            _ => Err(wrong(node, key, "a size in quotes, such as \"512M\"")),
        }
    }
}

impl DescribedForm for Size {
    fn write(value: &u64) -> Option<Value> {
        i64::try_from(*value).ok().map(Value::Integer)
    }

    fn described() -> String {
        "size".into()
    }
}

/// Bytes per second.
#[derive(Debug)]
pub struct Rate;

impl Form for Rate {
    type Value = u64;

    fn read(section: &Section<'_>, key: &str, node: &Node) -> Result<u64> {
        let rate = Size::read(section, key, node)?;
        if rate == 0 {
            return Err(wrong(node, key, "more than 0; leave it out for no limit"));
        }
        Ok(rate)
    }
}

impl DescribedForm for Rate {
    fn write(value: &u64) -> Option<Value> {
        Size::write(value)
    }

    fn described() -> String {
        "size, more than 0".into()
    }
}

/// A list; a single value is a list of one.
#[derive(Debug)]
pub struct List<F>(PhantomData<F>);

impl<F: Form> Form for List<F> {
    type Value = Vec<F::Value>;

    fn read(section: &Section<'_>, key: &str, node: &Node) -> Result<Self::Value> {
        match &node.value {
            Value::List(list) => list.iter().map(|element| F::read(section, key, element)).collect(),
            _ => F::read(section, key, node).map(|value| vec![value]),
        }
    }
}

impl<F: DescribedForm> DescribedForm for List<F> {
    fn write(value: &Self::Value) -> Option<Value> {
        Some(list(value.iter().filter_map(F::write)))
    }

    fn described() -> String {
        format!("list of {}", F::described_many())
    }
}

/// A list that is not empty, or is left out.
#[derive(Debug)]
pub struct OptionalList<F>(PhantomData<F>);

impl<F: Form> Form for OptionalList<F> {
    type Value = Vec<F::Value>;

    fn read(section: &Section<'_>, key: &str, node: &Node) -> Result<Self::Value> {
        List::<F>::read(section, key, node)
    }
}

impl<F: DescribedForm> DescribedForm for OptionalList<F> {
    fn write(value: &Self::Value) -> Option<Value> {
        List::<F>::write(value).filter(|_| !value.is_empty())
    }

    fn described() -> String {
        List::<F>::described()
    }
}

/// Texts by names that the user chooses: `{ site = "north" }`.
#[derive(Debug)]
pub struct TextsByName;

impl Form for TextsByName {
    type Value = BTreeMap<String, String>;

    fn read(section: &Section<'_>, key: &str, node: &Node) -> Result<Self::Value> {
        let Value::Table(table) = &node.value else {
            return Err(wrong(node, key, "a table of texts, { name = \"text\" }"));
        };
        table.iter().map(|(name, node)| Ok((name.clone(), Text::read(section, name, node)?))).collect()
    }
}

impl DescribedForm for TextsByName {
    fn write(value: &Self::Value) -> Option<Value> {
        let texts = value.iter().map(|(name, text)| (name.clone(), node(Value::Text(text.clone()))));
        (!value.is_empty()).then(|| Value::Table(texts.collect()))
    }

    fn described() -> String {
        "table of texts".into()
    }
}

/// Any number of tables: `[[table]]`.
#[derive(Debug)]
pub struct Tables<T>(PhantomData<T>);

impl<T: Settings> Form for Tables<T> {
    type Value = Vec<T>;

    fn read(section: &Section<'_>, key: &str, node: &Node) -> Result<Vec<T>> {
        open_tables(section, key, node, |table| {
            let value = T::read(table)?;
            table.finish()?;
            Ok(value)
        })
    }
}

impl<T: DescribedSettings> DescribedForm for Tables<T> {
    fn write(value: &Vec<T>) -> Option<Value> {
        tables(value.iter().map(T::write))
    }

    fn described() -> String {
        "tables".into()
    }

    fn table() -> Option<Nested> {
        Some(Nested { keys: T::KEYS.to_vec(), repeated: true })
    }
}

/// Reads each table of the list at `key` (`[[key]]`) and accepts unknown keys: the publisher may use a newer
/// version.
///
/// # Errors
/// Those of `read`, and [`abide_core::error::Error::Usage`] if it is not a list of tables.
pub fn open_tables<T>(
    section: &Section<'_>,
    key: &str,
    node: &Node,
    mut read: impl FnMut(&mut Section<'_>) -> Result<T>,
) -> Result<Vec<T>> {
    let name = format!("[[{}]]", section.below(key));
    let Value::List(list) = &node.value else {
        return Err(wrong(node, key, &format!("written as {name}")));
    };
    list.iter().map(|element| read(&mut Section::of(element, name.clone())?)).collect()
}

/// A list of tables as it is written; `None` for an empty one.
pub fn tables(tables: impl Iterator<Item = Table>) -> Option<Value> {
    let list: Vec<Node> = tables.map(|table| node(Value::Table(table))).collect();
    (!list.is_empty()).then_some(Value::List(list))
}

fn list(values: impl Iterator<Item = Value>) -> Value {
    Value::List(values.map(node).collect())
}

fn node(value: Value) -> Node {
    Node { value, origin: Origin::default() }
}

//! Reads one table of the configuration, and knows its keys by having been asked for them.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::time::Duration;

use crate::config::duration;
use crate::config::tree::{Node, Origin, Table, Tree, Value};
use crate::error::{Error, Result};

/// A table being read. Whoever reads it asks for each key once; what is left over is unknown.
#[derive(Debug)]
pub struct Section<'t> {
    name: String,
    table: Option<&'t Table>,
    origin: Option<Origin>,
    asked: Vec<&'static str>,
}

impl<'t> Section<'t> {
    /// The top-level keys of `tree`.
    #[must_use]
    pub fn top(tree: &'t Tree) -> Self {
        Self { name: String::new(), table: Some(&tree.table), origin: None, asked: Vec::new() }
    }

    /// What the value at `key` is, if it was written.
    fn get(&mut self, key: &'static str) -> Option<&'t Node> {
        self.asked.push(key);
        self.table?.get(key)
    }

    /// An error about the whole section.
    #[must_use]
    pub fn error(&self, problem: &str) -> Error {
        match &self.origin {
            Some(origin) => Error::Usage(format!("{origin}: {}: {problem}", self.name)),
            None => Error::Usage(format!("configuration: {}: {problem}", self.name)),
        }
    }

    /// An error about one of its keys, at the line where it was written.
    #[must_use]
    pub fn error_at(&self, key: &str, problem: &str) -> Error {
        match self.table.and_then(|table| table.get(key)) {
            Some(node) => Error::Usage(format!("{}: {key}: {problem}", node.origin)),
            None => self.error(&format!("{key}: {problem}")),
        }
    }

    /// A text.
    ///
    /// # Errors
    /// [`Error::Usage`] if the value is of another type; so it is with all readers below.
    pub fn text(&mut self, key: &'static str) -> Result<Option<String>> {
        self.get(key)
            .map(|node| match &node.value {
                Value::Text(text) => Ok(text.clone()),
                _ => Err(wrong(node, key, "a text in quotes")),
            })
            .transpose()
    }

    /// An absolute path.
    ///
    /// # Errors
    /// As [`Section::text`].
    pub fn path(&mut self, key: &'static str) -> Result<Option<String>> {
        match self.text(key)? {
            Some(path) if !path.starts_with('/') => {
                Err(self.error_at(key, &format!("'{path}' is not an absolute path")))
            }
            path => Ok(path),
        }
    }

    /// An absolute path that must be there.
    ///
    /// # Errors
    /// As [`Section::text`].
    pub fn needed_path(&mut self, key: &'static str) -> Result<String> {
        self.path(key)?.ok_or_else(|| self.error(&format!("needs {key} = \"/…\"")))
    }

    /// A list of absolute paths; a single one is a list of one.
    ///
    /// # Errors
    /// As [`Section::text`].
    pub fn paths(&mut self, key: &'static str) -> Result<Option<Vec<String>>> {
        let paths = self.texts(key)?;
        match paths.iter().flatten().find(|path| !path.starts_with('/')) {
            Some(path) => Err(self.error_at(key, &format!("'{path}' is not an absolute path"))),
            None => Ok(paths),
        }
    }

    /// The URL of a web server, which must be there.
    ///
    /// # Errors
    /// As [`Section::text`].
    pub fn needed_url(&mut self, key: &'static str) -> Result<String> {
        let url = self.text(key)?.ok_or_else(|| self.error(&format!("needs {key} = \"https://…\"")))?;
        match url.starts_with("http://") || url.starts_with("https://") {
            true => Ok(url),
            false => Err(self.error_at(key, "must begin with http:// or https://")),
        }
    }

    /// `true` or `false`.
    ///
    /// # Errors
    /// As [`Section::text`].
    pub fn flag(&mut self, key: &'static str) -> Result<Option<bool>> {
        self.get(key)
            .map(|node| match &node.value {
                Value::Boolean(flag) => Ok(*flag),
                _ => Err(wrong(node, key, "true or false")),
            })
            .transpose()
    }

    /// A whole number within `range`.
    ///
    /// # Errors
    /// As [`Section::text`], and if it is out of range.
    pub fn count(&mut self, key: &'static str, range: RangeInclusive<u32>) -> Result<Option<u32>> {
        self.get(key)
            .map(|node| match &node.value {
                Value::Integer(n) => u32::try_from(*n).ok().filter(|n| range.contains(n)).ok_or_else(|| {
                    wrong(node, key, &format!("a number from {} to {}", range.start(), range.end()))
                }),
                _ => Err(wrong(node, key, "a whole number")),
            })
            .transpose()
    }

    /// A span of time as systemd writes it, or a whole number of seconds.
    ///
    /// # Errors
    /// As [`Section::text`]; `infinity` is refused: everything here is a limit.
    pub fn duration(&mut self, key: &'static str) -> Result<Option<Duration>> {
        self.get(key)
            .map(|node| match &node.value {
                Value::Text(text) => duration::parse(text).map_err(|problem| wrong(node, key, &problem)),
                Value::Integer(n) => u64::try_from(*n)
                    .map(Duration::from_secs)
                    .map_err(|_| wrong(node, key, "a span of time, not a negative number")),
                _ => Err(wrong(node, key, "a span of time in quotes, such as \"10min\"")),
            })
            .transpose()
    }

    /// A number of bytes, as a whole number or with systemd's suffixes.
    ///
    /// # Errors
    /// As [`Section::text`].
    pub fn size(&mut self, key: &'static str) -> Result<Option<u64>> {
        self.get(key)
            .map(|node| match &node.value {
                Value::Text(text) => {
                    crate::config::size::parse(text).map_err(|problem| wrong(node, key, &problem))
                }
                Value::Integer(n) => {
                    u64::try_from(*n).map_err(|_| wrong(node, key, "a size, not a negative number"))
                }
                _ => Err(wrong(node, key, "a size in quotes, such as \"512M\"")),
            })
            .transpose()
    }

    /// A list of texts; a single text is a list of one.
    ///
    /// # Errors
    /// As [`Section::text`].
    pub fn texts(&mut self, key: &'static str) -> Result<Option<Vec<String>>> {
        let Some(node) = self.get(key) else { return Ok(None) };
        let list = match &node.value {
            Value::Text(text) => vec![text.clone()],
            Value::List(list) => list
                .iter()
                .map(|element| match &element.value {
                    Value::Text(text) => Ok(text.clone()),
                    _ => Err(wrong(element, key, "a list of texts")),
                })
                .collect::<Result<_>>()?,
            _ => return Err(wrong(node, key, "a list of texts")),
        };
        Ok(Some(list))
    }

    /// Texts by names that are the user's own; none is an empty table.
    ///
    /// # Errors
    /// As [`Section::text`].
    pub fn named_texts(&mut self, key: &'static str) -> Result<BTreeMap<String, String>> {
        let Some(node) = self.get(key) else { return Ok(BTreeMap::new()) };
        let Value::Table(table) = &node.value else {
            return Err(wrong(node, key, "a table of texts, { name = \"text\" }"));
        };
        let text = |(name, node): (&String, &Node)| match &node.value {
            Value::Text(text) => Ok((name.clone(), text.clone())),
            _ => Err(wrong(node, name, "a text in quotes")),
        };
        table.iter().map(text).collect()
    }

    /// Whether `key` was written.
    #[must_use]
    pub fn has(&self, key: &str) -> bool {
        self.table.is_some_and(|table| table.contains_key(key))
    }

    /// Whether the value at `key` is this text.
    #[must_use]
    pub fn is_text(&self, key: &str, text: &str) -> bool {
        let node = self.table.and_then(|table| table.get(key));
        node.is_some_and(|node| matches!(&node.value, Value::Text(its) if its == text))
    }

    /// Checks that the value at `key` is no empty text.
    ///
    /// # Errors
    /// As [`Section::text`].
    pub fn not_empty(&self, key: &str) -> Result<()> {
        match self.is_text(key, "") {
            true => Err(self.error_at(key, "must not be empty")),
            false => Ok(()),
        }
    }

    /// Whether the value at `key` was written as a list.
    #[must_use]
    pub fn is_list(&self, key: &str) -> bool {
        self.table.and_then(|t| t.get(key)).is_some_and(|node| matches!(node.value, Value::List(_)))
    }

    /// One of the words in `words`.
    ///
    /// # Errors
    /// As [`Section::text`], with the nearest word.
    pub fn word<T: Copy>(&mut self, key: &'static str, words: &[(&'static str, T)]) -> Result<Option<T>> {
        let Some(node) = self.get(key) else { return Ok(None) };
        let names: Vec<&str> = words.iter().map(|(name, _)| *name).collect();
        let Value::Text(text) = &node.value else {
            return Err(wrong(node, key, &format!("one of {}", names.join(", "))));
        };
        match words.iter().find(|(name, _)| name == text) {
            Some((_, value)) => Ok(Some(*value)),
            None => Err(Error::Usage(format!(
                "{}: {key}: '{text}' is not known; {}",
                node.origin,
                suggestion(text, &names)
            ))),
        }
    }

    /// A list of words out of `words`; a single word is a list of one.
    ///
    /// # Errors
    /// As [`Section::word`].
    pub fn words<T: Copy>(
        &mut self,
        key: &'static str,
        words: &[(&'static str, T)],
    ) -> Result<Option<Vec<T>>> {
        let Some(texts) = self.texts(key)? else { return Ok(None) };
        let names: Vec<&str> = words.iter().map(|(name, _)| *name).collect();
        let find = |text: &String| match words.iter().find(|(name, _)| name == text) {
            Some((_, value)) => Ok(*value),
            None => Err(self.error_at(key, &format!("'{text}' is not known; {}", suggestion(text, &names)))),
        };
        texts.iter().map(find).collect::<Result<_>>().map(Some)
    }

    /// A list of whole numbers within `range`; a single number is a list of one.
    ///
    /// # Errors
    /// As [`Section::text`], and if one is out of range.
    pub fn numbers(&mut self, key: &'static str, range: RangeInclusive<u16>) -> Result<Option<Vec<u16>>> {
        let Some(node) = self.get(key) else { return Ok(None) };
        let number = |node: &Node| match &node.value {
            Value::Integer(n) => u16::try_from(*n).ok().filter(|n| range.contains(n)),
            _ => None,
        };
        let list: Option<Vec<u16>> = match &node.value {
            Value::List(list) => list.iter().map(number).collect(),
            _ => number(node).map(|n| vec![n]),
        };
        let (low, high) = (range.start(), range.end());
        list.map(Some).ok_or_else(|| wrong(node, key, &format!("a list of numbers from {low} to {high}")))
    }

    /// How a table in this one is called: `update.window`.
    fn below(&self, key: &str) -> String {
        match self.name.trim_matches(['[', ']']) {
            "" => key.to_owned(),
            name => format!("{name}.{key}"),
        }
    }

    /// Reads the table at `key` with `read`; a missing table is read as an empty one.
    ///
    /// # Errors
    /// Those of `read`, and [`Error::Usage`] for a key that `read` did not ask for.
    pub fn table<T>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(&mut Section<'t>) -> Result<T>,
    ) -> Result<T> {
        let node = self.get(key);
        let name = format!("[{}]", self.below(key));
        let mut section = match node {
            None => Section { name, table: None, origin: None, asked: Vec::new() },
            Some(node) => section_of(node, name)?,
        };
        let value = read(&mut section)?;
        section.finish()?;
        Ok(value)
    }

    /// As [`Section::table`], but `None` for a missing table.
    ///
    /// # Errors
    /// As [`Section::table`].
    pub fn optional_table<T>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(&mut Section<'t>) -> Result<T>,
    ) -> Result<Option<T>> {
        match self.has(key) {
            true => self.table(key, read).map(Some),
            false => {
                self.asked.push(key);
                Ok(None)
            }
        }
    }

    /// Reads each table of the list at `key` (`[[key]]`).
    ///
    /// # Errors
    /// As [`Section::table`].
    pub fn tables<T>(
        &mut self,
        key: &'static str,
        mut read: impl FnMut(&mut Section<'t>) -> Result<T>,
    ) -> Result<Vec<T>> {
        self.open_tables(key, |section| {
            let value = read(section)?;
            section.finish()?;
            Ok(value)
        })
    }

    /// As [`Section::tables`], but keys that are not asked for are left alone: for what others publish.
    ///
    /// # Errors
    /// Those of `read`, and [`Error::Usage`] if it is no list of tables.
    pub fn open_tables<T>(
        &mut self,
        key: &'static str,
        mut read: impl FnMut(&mut Section<'t>) -> Result<T>,
    ) -> Result<Vec<T>> {
        let Some(node) = self.get(key) else { return Ok(Vec::new()) };
        let Value::List(list) = &node.value else {
            return Err(wrong(node, key, &format!("written as [[{}]]", self.below(key))));
        };
        let name = format!("[[{}]]", self.below(key));
        list.iter().map(|element| read(&mut section_of(element, name.clone())?)).collect()
    }

    /// Checks that every key was asked for.
    ///
    /// # Errors
    /// [`Error::Usage`] with file, line and the nearest known key for the first that was not.
    pub fn finish(&self) -> Result<()> {
        let mut unknown: Vec<(&String, &Node)> =
            self.table.into_iter().flatten().filter(|(key, _)| !self.asked.contains(&key.as_str())).collect();
        unknown.sort_by_key(|(_, node)| node.origin.to_string());
        let Some((key, node)) = unknown.first() else { return Ok(()) };
        let place = match self.name.as_str() {
            "" => String::new(),
            name => format!(" in {name}"),
        };
        Err(Error::Usage(format!(
            "{}: unknown key '{key}'{place}; {}",
            node.origin,
            suggestion(key, &self.asked)
        )))
    }
}

fn section_of(node: &Node, name: String) -> Result<Section<'_>> {
    match &node.value {
        Value::Table(table) => {
            Ok(Section { name, table: Some(table), origin: Some(node.origin.clone()), asked: Vec::new() })
        }
        _ => Err(Error::Usage(format!("{}: must be a table, {name}", node.origin))),
    }
}

fn wrong(node: &Node, key: &str, expected: &str) -> Error {
    Error::Usage(format!("{}: {key}: must be {expected}", node.origin))
}

/// "did you mean …?" when one of `known` is near, else all of them.
fn suggestion(word: &str, known: &[&str]) -> String {
    // A third of the letters wrong is still a slip; more is another word.
    let slip = (word.chars().count() / 3).max(1);
    let nearest = known.iter().map(|k| (distance(word, k), k)).filter(|(d, _)| *d <= slip).min();
    match nearest {
        Some((_, known)) => format!("did you mean '{known}'?"),
        None => format!("known are: {}", known.join(", ")),
    }
}

/// The Levenshtein distance.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut next = vec![i + 1];
        for ((j, to), pair) in b.iter().enumerate().zip(row.windows(2)) {
            let &[diagonal, above] = pair else { continue };
            let left = next.get(j).copied().unwrap_or(usize::MAX - 1);
            next.push((diagonal + usize::from(from != *to)).min(above + 1).min(left + 1));
        }
        row = next;
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn an_unknown_key_is_refused_with_file_line_and_the_nearest_known_key() {
        let tree = Tree::parse("/etc/a.toml", "[s]\n\ntest_windw = 1\n").unwrap();
        let error = Section::top(&tree)
            .table("s", |s| {
                s.count("test_window", 0..=9)?;
                s.count("deadline", 0..=9)
            })
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            "/etc/a.toml:3: unknown key 'test_windw' in [s]; did you mean 'test_window'?"
        );
    }

    #[test]
    fn a_key_unlike_any_other_is_answered_with_all_known_ones() {
        let tree = Tree::parse("f", "colour = 1\n").unwrap();
        let mut top = Section::top(&tree);
        top.count("tries", 0..=9).unwrap();
        let error = top.finish().unwrap_err();
        assert_eq!(error.to_string(), "f:1: unknown key 'colour'; known are: tries");
    }

    #[test]
    fn a_number_out_of_range_is_refused_with_the_range() {
        let tree = Tree::parse("f", "tries = 10\n").unwrap();
        let error = Section::top(&tree).count("tries", 1..=9).unwrap_err();
        assert_eq!(error.to_string(), "f:1: tries: must be a number from 1 to 9");
    }

    #[test]
    fn an_unknown_word_is_answered_with_the_nearest() {
        let tree = Tree::parse("f", "on = 'rolback'\n").unwrap();
        let words = [("rollback", 1), ("retry", 2)];
        let error = Section::top(&tree).word("on", &words).unwrap_err();
        assert_eq!(error.to_string(), "f:1: on: 'rolback' is not known; did you mean 'rollback'?");
    }

    #[test]
    fn a_single_text_is_a_list_of_one() {
        let tree = Tree::parse("f", "units = 'a.service'\n").unwrap();
        assert_eq!(Section::top(&tree).texts("units").unwrap().unwrap(), ["a.service"]);
    }
}

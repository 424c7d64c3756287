//! One table of the configuration while it is read: its values by key, each in its form, and errors with their place.

use strsim::levenshtein;

use crate::config::tree::{Node, Origin, Table, Tree, Value};
use crate::error::{Error, Result};

/// A table while it is read. It records each key that is requested; any other key is unknown.
#[derive(Debug, Clone)]
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

    /// The table that `node` holds; `name` is for messages: `[assess]`.
    ///
    /// # Errors
    /// [`Error::Usage`] if it is not a table.
    pub fn of(node: &'t Node, name: String) -> Result<Self> {
        match &node.value {
            Value::Table(table) => {
                Ok(Self { name, table: Some(table), origin: Some(node.origin.clone()), asked: Vec::new() })
            }
            _ => Err(Error::Usage(format!("{}: must be a table, {name}", node.origin))),
        }
    }

    /// The value at `key` as written, if it is there. From now on the key is known.
    pub fn get(&mut self, key: &'static str) -> Option<&'t Node> {
        self.asked.push(key);
        self.table?.get(key)
    }

    /// The value at `key`, written in the form `F`; `None` if it is not there.
    ///
    /// # Errors
    /// [`Error::Usage`] with file and line if it is written in another form.
    pub fn read<F: Form>(&mut self, key: &'static str) -> Result<Option<F::Value>> {
        self.get(key).map(|node| F::read(self, key, node)).transpose()
    }

    /// As [`Section::read`], but the key must be there. `example` is a value for the message.
    ///
    /// # Errors
    /// As [`Section::read`], and [`Error::Usage`] if the key is missing.
    pub fn need<F: Form>(&mut self, key: &'static str, example: &str) -> Result<F::Value> {
        self.read::<F>(key)?.ok_or_else(|| self.error(&format!("needs {key} = {example}")))
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

    /// Whether `key` was written.
    #[must_use]
    pub fn has(&self, key: &str) -> bool {
        self.table.is_some_and(|table| table.contains_key(key))
    }

    /// The name of the table at `key` in this one: `update.window`.
    #[must_use]
    pub fn below(&self, key: &str) -> String {
        match self.name.trim_matches(['[', ']']) {
            "" => key.to_owned(),
            name => format!("{name}.{key}"),
        }
    }

    /// Checks that every key is known.
    ///
    /// # Errors
    /// [`Error::Usage`] with file, line and the nearest known key for the first that is not.
    pub fn finish(&self) -> Result<()> {
        let unknown = self.table.into_iter().flatten().filter(|(key, _)| !self.asked.contains(&key.as_str()));
        let Some((key, node)) = unknown.min_by_key(|(_, node)| node.origin.to_string()) else {
            return Ok(());
        };
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

/// How the value of a key is written.
pub trait Form {
    /// What it is read as.
    type Value;

    /// Reads `node`, the value at `key` of `section` or an element of it.
    ///
    /// # Errors
    /// [`Error::Usage`] with file and line if it is written in another form.
    fn read(section: &Section<'_>, key: &str, node: &Node) -> Result<Self::Value>;
}

/// A table of the configuration.
pub trait Settings: Sized {
    /// Reads it.
    ///
    /// # Errors
    /// [`Error::Usage`] with file and line for an invalid value.
    fn read(section: &mut Section<'_>) -> Result<Self>;
}

/// An error about `node`: what it must be.
#[must_use]
pub fn wrong(node: &Node, key: &str, expected: &str) -> Error {
    Error::Usage(format!("{}: {key}: must be {expected}", node.origin))
}

/// "did you mean …?" if one of `known` is near, else all of them.
pub(super) fn suggestion(word: &str, known: &[&str]) -> String {
    // A third of the letters wrong is still a typing error; more is another word.
    let limit = (word.chars().count() / 3).max(1);
    let nearest = known.iter().map(|k| (levenshtein(word, k), k)).filter(|(d, _)| *d <= limit).min();
    match nearest {
        Some((_, known)) => format!("did you mean '{known}'?"),
        None => format!("known are: {}", known.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::config::form::Count;

    #[test]
    fn an_unknown_key_is_refused_with_file_line_and_the_nearest_known_key() {
        let tree = Tree::parse("/etc/a.toml", "[s]\n\ntest_windw = 1\n").unwrap();
        let mut section = Section::of(tree.table.get("s").unwrap(), "[s]".into()).unwrap();
        section.read::<Count<0, 9>>("test_window").unwrap();
        section.read::<Count<0, 9>>("deadline").unwrap();
        assert_eq!(
            section.finish().unwrap_err().to_string(),
            "/etc/a.toml:3: unknown key 'test_windw' in [s]; did you mean 'test_window'?"
        );
    }

    #[test]
    fn a_key_unlike_any_other_is_answered_with_all_known_ones() {
        let tree = Tree::parse("f", "colour = 1\n").unwrap();
        let mut top = Section::top(&tree);
        top.read::<Count<0, 9>>("tries").unwrap();
        let error = top.finish().unwrap_err();
        assert_eq!(error.to_string(), "f:1: unknown key 'colour'; known are: tries");
    }
}
